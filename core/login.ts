/** A login: all that one database login needs. */
import type { Refusal } from './connection/authenticate.js'
import type { ConnectPacer } from './connection/connect-pacer.js'
import type { EndpointSet } from './connection/endpoint-set.js'
import type { RetryOptions } from './conflict/retry-options.js'
import type { Report } from './events.js'
import type { StartupParameters } from './options/startup-parameters.js'
import type { LoginStats } from './tokens/login-counters.js'
import type { TlsNegotiation, VerifiedTls } from './tls/verified-tls.js'
import type { Token } from './tokens/token.js'

/** The clouds that pg-iam knows. */
export type ProviderName = 'aurora-dsql' | 'rds' | 'redshift' | 'entra' | 'cloud-sql' | 'custom'

/** A network address to dial. */
export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * All that one database login needs: where to, as whom, over which TLS, and where its tokens come from.
 *
 * Made by `auroraDsql()` and its siblings, and handed to an adapter. It is frozen and holds no secret.
 */
export interface Login {
  readonly provider: ProviderName
  /** The host that tokens are made for and that TLS is verified for; the first of several. */
  readonly host: string
  /** All hosts, where there are several: a connection goes to the first that answers. */
  readonly hosts?: readonly string[]
  readonly port: number
  readonly database: string
  /** The database user; `undefined` until the first token where the token names it. */
  readonly user: string | undefined
  readonly region?: string
  /** Where connections are dialled, where that is not `host` and `port`. */
  readonly connectTo?: Address
  readonly tls: VerifiedTls
  readonly tlsNegotiation: TlsNegotiation
  /** The run-time parameters that each session begins with, where the driver is given no other: by their names in lower case. */
  readonly startupParameters?: StartupParameters
  /** Whether TCP asks if the other side is still there, or after how many seconds; where the login says so. */
  readonly keepAlive?: boolean | number
  /** The age, in seconds, at which pools replace a connection; `undefined` where age is no reason to. */
  readonly maxLifetimeSecs?: number
  /** How the transaction functions retry, where the login says so. */
  readonly retry?: RetryOptions
  /** Gives the token of one physical connection, to the first host. Rejects with a `PgIamError`. */
  token(): Promise<Token>
  /** The value of `token()`, for whatever takes a password function. */
  password(): Promise<string>
  stats(): LoginStats
}

/** What a login holds for the rest of the core, and for nobody else. */
export interface LoginInternals {
  connectionOpened(): void
  connectionClosed(): void
  conflictRetried(): void
  /** Publishes what happens, and logs it where the login has a logger. */
  readonly report: Report
  /** Says when the next connection may be dialled. */
  readonly pacer: ConnectPacer
  /** Where connections may go. */
  readonly endpoints: EndpointSet
  /** Looks for other credentials, after a server refused what these have signed. Resolves with whether there are some. */
  renewCredentials(): Promise<boolean>
  /** How long a physical connection may take, in milliseconds. */
  readonly connectTimeoutMs: number
  /** Whether tokens are ordinary passwords, which a server may ask for by SCRAM, too. */
  readonly tokensArePasswords: boolean
  /** What to do about a refusal of the server. */
  explainRefusal(refusal: Refusal): string | undefined
}

/** The internals of a login, or `undefined` for an object that only looks like one. */
export function internalsOf(login: Login): LoginInternals | undefined {
  return (login as { [INTERNALS]?: LoginInternals })[INTERNALS]
}

/** A registered symbol, because the ESM and the CommonJS copy of the package must both find it. */
export const INTERNALS: unique symbol = Symbol.for('pg-iam.login-internals') as never
