/** A login: all that one database login needs. */
import type { LoginStats } from './tokens/login-counters.js'
import type { TlsNegotiation, VerifiedTls } from './tls/verified-tls.js'
import type { Token } from './tokens/token.js'

/** The clouds that pg-iam knows. */
export type ProviderName = 'aurora-dsql'

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
  /** The host that tokens are made for and that TLS is verified for. */
  readonly host: string
  readonly port: number
  readonly database: string
  /** The database user; `undefined` until the first token where the token names it. */
  readonly user: string | undefined
  readonly region?: string
  /** Where connections are dialled, where that is not `host` and `port`. */
  readonly connectTo?: Address
  readonly tls: VerifiedTls
  readonly tlsNegotiation: TlsNegotiation
  /** The age, in seconds, at which pools replace a connection. */
  readonly maxLifetimeSecs: number
  /** Gives the token of one physical connection. Rejects with a `PgIamError`. */
  token(): Promise<Token>
  /** The value of `token()`, for whatever takes a password function. */
  password(): Promise<string>
  stats(): LoginStats
}

/** Counts connections on the login that they belong to; kept off its public surface. */
export interface ConnectionRecorder {
  opened(): void
  closed(): void
}

/** Where a login keeps its recorder. A registered symbol, because the ESM and the CommonJS copy must find it. */
export const RECORDER: unique symbol = Symbol.for('pg-iam.connection-recorder') as never
