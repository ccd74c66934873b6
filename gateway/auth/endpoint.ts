/** An emulated endpoint: one database of a provider, or several with the same login method. */
import { type Check, hostName, integerWithin, invalidOption } from '../../core/options/check.js'
import type { Logger } from '../../core/events.js'
import { LIMIT_CHECKS, type Limits } from '../connection/limits.js'
import { endpointUpstream, type EndpointUpstream } from '../engines/upstream.js'
import type { SessionRules } from '../connection/session-rewriter.js'
import type { DsqlMode } from '../dsql/dsql-mode.js'
import type { Principals } from './aws.js'
import type { RedshiftPasswords } from './redshift-passwords.js'
import type { ProviderErrors } from './refusal.js'
import type { LoginMethod } from './verifier.js'

/** The provider that an endpoint emulates, or its login method. */
export type EndpointProvider =
  'aurora-dsql' | 'rds' | 'redshift' | 'entra' | 'cloud-sql' | 'password' | 'certificate' | 'none'

/** The options of every entry of `endpoints`. */
export interface CommonEndpointOptions {
  /**
   * The host names of the database, at least one. The gateway's certificate is valid for them. `*.example.com` matches the names with one
   * additional label. A full name in another endpoint takes precedence.
   */
  hosts: readonly string[]
  /**
   * The port of a separate listener; 0 selects a free port. Default: the gateway's shared listener, which selects the endpoint by the
   * server name (SNI) of the client's TLS handshake.
   */
  listen?: number
  /**
   * The server for the sessions of this endpoint: an address, a `postgres://` URL, a login, or a function of the client that returns one of
   * them. Roles and databases are those of that server. Default: the gateway's engine.
   */
  upstream?: EndpointUpstream
  /** The maximum number of open sessions of this endpoint, from 1 to 65,535. Default: that of the gateway. */
  maxConnections?: number
  /**
   * How long a client of this endpoint waits for one of its `maxConnections`, in milliseconds, from 0 to 600,000. Default 0: it is refused
   * immediately.
   */
  queueTimeoutMs?: number
}

/** Validates the entries of one provider and creates their endpoints. */
export interface EndpointDefinition<Options> {
  readonly check: Check<Options>
  /** The roles that the options name. They exist by default. */
  roles(options: Options): readonly string[]
  create(options: Options, deps: EndpointDeps): EndpointLogins
}

/** The dependencies that an endpoint gets from its gateway. */
export interface EndpointDeps {
  /** The principals of the gateway, for endpoints that define none. */
  readonly principals: Principals
  /** Epoch milliseconds. */
  readonly clock: () => number
  readonly logger: Logger
}

/** The logins of one endpoint. */
interface EndpointLogins {
  readonly method: LoginMethod
  readonly errors: ProviderErrors
  /** The roles that may log in, as far as they are known from the options. */
  readonly roles: readonly string[]
  /** The AWS principals that may log in. */
  readonly principals?: Principals
  /** The passwords that the API of the gateway issues for Amazon Redshift. */
  readonly redshift?: RedshiftPasswords
  /** PEM text of the certificate authorities of the accepted client certificates. */
  readonly clientAuthority?: string
  /** Loads the packages that logins need, so that a missing package is reported when the gateway starts. */
  readonly prepare?: () => Promise<unknown>
  /** Differences of the sessions from those of PostgreSQL. */
  readonly rules?: SessionRules
  /** The SQL of Aurora DSQL, if the endpoint has it. */
  readonly dsql?: DsqlMode
  /** Further options that `gateway.login()` passes to the provider's login function, beside address, user, database and TLS. */
  readonly loginOptions: Readonly<Record<string, unknown>>
}

export interface Endpoint extends EndpointLogins {
  readonly provider: EndpointProvider
  readonly hosts: readonly string[]
  /** The port of a separate listener; 0 selects a free port. */
  readonly listen: number | undefined
  readonly upstream: EndpointUpstream | undefined
  /** The limits for the sessions of this endpoint. The gateway's limits also apply. */
  readonly limits: Limits | undefined
}

// Validation of the options that every entry of `endpoints` has.

/** A list of at least one host name, without duplicates. */
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
  upstream: Check<EndpointUpstream>
  maxConnections: Check<number>
  queueTimeoutMs: Check<number>
} = {
  hosts: hostList(hostOrWildcard),
  listen: integerWithin(0, 65_535),
  upstream: endpointUpstream,
  maxConnections: LIMIT_CHECKS.maxConnections,
  queueTimeoutMs: LIMIT_CHECKS.queueTimeoutMs,
}

/** A host name, also with `*` as its first label. */
function hostOrWildcard(value: unknown, name: string): string {
  const rest = typeof value === 'string' && value.startsWith('*.') ? value.slice(2) : undefined
  return rest === undefined ? hostName(value, name) : `*.${hostName(rest, name)}`
}

/** Returns the value of a required option, or throws `ERR_OPTION_INVALID`. */
export function requiredOption<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw invalidOption(name, 'given', undefined)
  return value
}
