/** Checks of the whole list of endpoints: each by itself, and whether clients can tell them apart. */
import { isIP } from 'node:net'
import { PgIamError } from '../../core/errors.js'
import { invalidOption, type Check } from '../../core/options/check.js'
import { endpointOptions, type EndpointOptions } from './endpoints.js'

export const endpointList: Check<readonly EndpointOptions[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of at least one endpoint', value)
  return value.map((item: unknown, index) => endpointOptions(item, `${name}[${index}]`))
}

/**
 * Refuses endpoints that share a listener and cannot be told apart there, and listeners that share a port.
 *
 * @param endpoints with the name of the option that each came from
 * @param port of the shared listener
 */
export function refuseAmbiguousEndpoints(
  endpoints: readonly { readonly name: string; readonly options: EndpointOptions }[],
  port: number,
): void {
  const sharing = endpoints.filter(({ options }) => options.listen === undefined)
  const ports = new Set(sharing.length > 0 && port !== 0 ? [port] : [])
  for (const { name, options } of endpoints) {
    const { listen = 0 } = options
    if (ports.has(listen))
      throw conflict(`${name}.listen`, `must not be ${listen}: another listener has that port`)
    if (listen !== 0) ports.add(listen)
  }
  if (sharing.length === 1) return
  const taken = new Set<string>()
  for (const { name, options } of sharing) {
    for (const host of options.hosts) {
      if (isIP(host) !== 0)
        throw conflict(
          `${name}.hosts`,
          `must not hold "${host}": clients send no server name for an address`,
        )
      if (taken.has(host)) throw conflict(`${name}.hosts`, `must not hold "${host}" again`)
      taken.add(host)
    }
  }
}

function conflict(name: string, problem: string): PgIamError {
  return new PgIamError('ERR_OPTION_CONFLICT', `"${name}" ${problem}`, {
    hint: 'Endpoints on one listener are told apart by the server name that clients send. Give "listen" for a listener of its own.',
  })
}
