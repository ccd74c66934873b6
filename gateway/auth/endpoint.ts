/** What the gateway stands for: one database of a provider, or several that are logged in to in the same way. */
import { type Check, hostName, integerWithin, invalidOption } from '../../core/options/check.js'
import type { ServerError } from '../../wire/error-response.js'
import type { Principals } from './aws.js'
import type { ProviderErrors } from './refusal.js'
import type { LoginMethod } from './verifier.js'

/** What an endpoint authenticates as. */
export type EndpointProvider =
  'aurora-dsql' | 'rds' | 'entra' | 'cloud-sql' | 'password' | 'certificate' | 'none'

/** What every entry of `endpoints` has. */
export interface CommonEndpointOptions {
  /** The host names that clients know the database by, at least one. TLS is verified for them. */
  hosts: readonly string[]
  /**
   * A port for a listener of its own; 0 takes a free one. Default: the gateway's own listener, where the server name of the
   * client's TLS handshake chooses the endpoint.
   */
  listen?: number
}

/** How one provider's entries are checked, and their logins after them. */
export interface EndpointDefinition<Options> {
  readonly check: Check<Options>
  /** The roles that the options name, which then exist by default. */
  roles(options: Options): readonly string[]
  create(options: Options, deps: EndpointDeps): EndpointLogins
}

/** What an endpoint gets from its gateway. */
export interface EndpointDeps {
  /** The principals of the gateway, for endpoints that have none of their own. */
  readonly principals: Principals
  /** Epoch milliseconds. */
  readonly clock: () => number
}

/** The logins of one endpoint. */
interface EndpointLogins {
  readonly method: LoginMethod
  readonly errors: ProviderErrors
  /** The roles that it may let in, as far as it can tell beforehand. */
  readonly roles: readonly string[]
  /** The AWS principals that may log in. */
  readonly principals?: Principals
  /** PEM text of the authorities whose client certificates are good. */
  readonly clientAuthority?: string
  /** Loads the packages that its logins need, so that a missing one is known when the gateway starts. */
  readonly prepare?: () => Promise<unknown>
  /** Where sessions differ from those of a PostgreSQL. */
  readonly rules?: SessionRules
  /** What `gateway.login()` gives to the provider's own login function beside address, user, database and TLS. */
  readonly loginOptions: Readonly<Record<string, unknown>>
}

/** What the sessions of an endpoint may not ask for, and what they have without asking. */
export interface SessionRules {
  /** The startup parameters that the engine gets, or why the login is refused. */
  startup(parameters: ReadonlyMap<string, string>): ReadonlyMap<string, string> | ServerError
  /** What the engine gets in place of whole messages of the client. */
  statements(messages: Buffer): Buffer
}

export interface Endpoint extends EndpointLogins {
  readonly provider: EndpointProvider
  readonly hosts: readonly string[]
  /** The port of a listener of its own; 0 takes a free one. */
  readonly listen: number | undefined
}

// Checks of what every entry of `endpoints` has.

/** A list of at least one host name; names that come twice are kept once. */
export function hostList(check: Check<string> = hostName): Check<readonly string[]> {
  return (value, name) => {
    if (!Array.isArray(value) || value.length === 0)
      throw invalidOption(name, 'an array of endpoint names', value)
    return [...new Set(value.map((item: unknown, index) => check(item, `${name}[${index}]`)))]
  }
}

export const COMMON_ENDPOINT_CHECKS: {
  hosts: Check<readonly string[]>
  listen: Check<number>
} = {
  hosts: hostList(),
  listen: integerWithin(0, 65_535, 'the port number'),
}

/** The value of an option without which an endpoint cannot be. */
export function requiredOption<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw invalidOption(name, 'given', undefined)
  return value
}

// Addresses at which an issuer of tokens may be asked.

/** What comes over plain HTTP could be anybody's, unless it comes from this machine. */
export function isSecureUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password } = new URL(text)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname))
}

const LOOPBACK = /^(127(\.\d{1,3}){3}|\[::1\]|localhost)$/

/** The address of an issuer, as an option. */
export const secureUrl: Check<string> = (value, name) => {
  if (typeof value === 'string' && isSecureUrl(value)) return value
  throw invalidOption(name, 'an https URL, or an http one of this machine', value)
}
