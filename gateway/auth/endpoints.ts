/** The providers that the gateway can stand for, and its endpoints. */
import { isIP } from 'node:net'
import { PgIamError } from '../../core/errors.js'
import { type Check, invalidOption, isPlainObject, oneOf } from '../../core/options/check.js'
import { auroraDsqlEndpoint, type AuroraDsqlEndpoint } from './aurora-dsql.js'
import {
  type GatewayCredentials,
  type IssueOptions,
  issueTemporaryCredentials,
  type PrincipalOptions,
  type Principals,
  rolesOf,
  type TemporaryCredentials,
} from './aws.js'
import { certificateEndpoint, type CertificateEndpoint } from './certificate.js'
import { cloudSqlEndpoint, type CloudSqlEndpoint } from './cloud-sql.js'
import type { Endpoint, EndpointDefinition, EndpointProvider, EndpointDeps } from './endpoint.js'
import { entraEndpoint, type EntraEndpoint } from './entra/endpoint.js'
import { noneEndpoint, type NoneEndpoint } from './none.js'
import { passwordEndpoint, type PasswordEndpoint } from './password.js'
import { rdsEndpoint, type RdsEndpoint } from './rds.js'

/** What the gateway stands for, told apart by `provider`. */
export type EndpointOptions =
  | AuroraDsqlEndpoint
  | RdsEndpoint
  | EntraEndpoint
  | CloudSqlEndpoint
  | PasswordEndpoint
  | CertificateEndpoint
  | NoneEndpoint

/** One line for each provider; its union member above is all that it needs besides. */
const DEFINITIONS: {
  readonly [P in EndpointProvider]: EndpointDefinition<Extract<EndpointOptions, { provider: P }>>
} = {
  'aurora-dsql': auroraDsqlEndpoint,
  rds: rdsEndpoint,
  entra: entraEndpoint,
  'cloud-sql': cloudSqlEndpoint,
  password: passwordEndpoint,
  certificate: certificateEndpoint,
  none: noneEndpoint,
}

/** Sets up what an entry of `endpoints` asks for. */
export function createEndpoint(options: EndpointOptions, deps: EndpointDeps): Endpoint {
  const { provider, hosts, listen } = options
  return { provider, hosts, listen, ...definitionOf(provider).create(options, deps) }
}

/** The check of an entry of `endpoints`, by its provider. */
export const endpointOptions: Check<EndpointOptions> = (value, name) => {
  if (!isPlainObject(value)) throw invalidOption(name, 'an object', value)
  const provider = providerName(value['provider'], `${name}.provider`)
  return definitionOf(provider).check(value, name)
}

/** All roles that somebody may log in as, as far as the options say. */
export function rolesNamedIn(
  endpoints: readonly EndpointOptions[],
  principals: readonly PrincipalOptions[] = [],
): string[] {
  const named = endpoints.flatMap((options) => definitionOf(options.provider).roles(options))
  return [...rolesOf(principals), ...named]
}

const providerName: Check<EndpointProvider> = oneOf(
  ...(Object.keys(DEFINITIONS) as EndpointProvider[]),
)

/** TypeScript does not see that a definition goes with the options of the same provider. */
function definitionOf(provider: EndpointProvider): EndpointDefinition<EndpointOptions> {
  return DEFINITIONS[provider] as EndpointDefinition<EndpointOptions>
}

// Checks of the whole list of endpoints: each by itself, and whether clients can tell them apart.

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

// The principals of all endpoints together: some endpoints have their own, the others share those of the gateway.

interface PrincipalStores {
  /** Those of the first principal of the first AWS endpoint. */
  readonly credentials: GatewayCredentials
  issue(options: IssueOptions): TemporaryCredentials
  /** Refuses the access key wherever it is known. Returns `false` for one that is known nowhere. */
  revoke(accessKeyId: string): boolean
}

/** @param shared for a gateway without an AWS endpoint, too: it then has credentials that let nobody in */
export function createPrincipalStores(
  endpoints: readonly Endpoint[],
  shared: Principals,
  clock: () => number,
): PrincipalStores {
  const ofAws = endpoints.flatMap(({ hosts, principals }) =>
    principals === undefined ? [] : [{ hosts, principals }],
  )
  const first = ofAws[0]?.principals ?? shared
  const stores = new Set([...ofAws.map(({ principals }) => principals), shared])
  return {
    credentials: first.credentials(),
    issue: (options) =>
      issueTemporaryCredentials(
        (host) =>
          host === undefined ? first : ofAws.find(({ hosts }) => hosts.includes(host))?.principals,
        clock,
        options,
      ),
    revoke: (accessKeyId) => [...stores].map((store) => store.revoke(accessKeyId)).includes(true),
  }
}
