/** The error class of pg-iam, its codes, and its type guard. */

/**
 * Every code that a {@link PgIamError} can carry.
 *
 * | code | when | retryable |
 * | --- | --- | --- |
 * | `ERR_OPTION_INVALID` | an option has a wrong type or range, or is unknown | no |
 * | `ERR_OPTION_CONFLICT` | two settings contradict each other, such as a password with a login | no |
 * | `ERR_TLS_UNVERIFIED` | a setting or a server would cause a token to be sent without verified TLS | no |
 * | `ERR_PEER_MISSING` | an optional package is not installed; `hint` is the install line | no |
 * | `ERR_CREDENTIALS_UNAVAILABLE` | no cloud credentials were found, or they could not be read | depends on the cause |
 * | `ERR_TOKEN_REQUEST_FAILED` | the token could not be created | depends on the cause |
 * | `ERR_TOKEN_TIMEOUT` | no token within `tokenTimeoutMs` | yes |
 * | `ERR_TOKEN_INVALID` | the token is empty, malformed or expired | no |
 * | `ERR_CONNECT_FAILED` | none of several hosts could be reached (`cause` has the error of each), or DNS failed | yes |
 * | `ERR_CONNECT_TIMEOUT` | no physical connection within `connectTimeoutMs` | yes |
 * | `ERR_LOGIN_REJECTED` | the server requests an authentication method that tokens do not support | no |
 * | `ERR_PROTOCOL` | the server violated the PostgreSQL protocol, or is not a PostgreSQL server | no |
 * | `ERR_OCC_EXHAUSTED` | each attempt of a transaction failed with a conflict; `cause` is the last one | yes |
 * | `ERR_CHUNK_FAILED` | a chunk of `insertInChunks` failed; `insertedRows` are in, `cause` is the error | if none are in, as the cause |
 * | `ERR_OUTCOME_UNKNOWN` | the connection was lost after COMMIT was written | no |
 * | `ERR_TRANSACTION_NESTED` | a transaction function was called inside another one | no |
 * | `ERR_ABORTED` | the caller's signal was aborted | no |
 * | `ERR_GATEWAY_PROTOCOL` | a client of the gateway violated the PostgreSQL protocol | no |
 * | `ERR_GATEWAY_ENGINE` | the gateway's engine could not be started, or was lost | yes |
 * | `ERR_DSQL_STATEMENT` | a statement of a migration has no equivalent on Aurora DSQL; `hint` is the way out | no |
 * | `ERR_MIGRATION_FAILED` | a statement of a migration, or its job, failed; `cause` is the error of the database | depends on the cause |
 * | `ERR_MIGRATION_STATE` | the migrations and the ledger differ, or only a person can decide whether a statement has run | no |
 * | `ERR_MIGRATION_LEASE` | another deployer holds the lease, or has taken it over | yes |
 * | `ERR_SIGN_IN_STATE` | a request belongs to no sign-in of this browser, or comes from another site | no |
 * | `ERR_SIGN_IN_EXPIRED` | an attempt to sign in took too long | no |
 * | `ERR_SIGN_IN_DENIED` | the user, or the identity provider, has denied the sign-in | no |
 * | `ERR_SIGN_IN_INVALID` | an answer or a token of the identity provider is not valid | no |
 * | `ERR_SIGN_IN_UNAVAILABLE` | the identity provider did not answer | yes |
 * | `ERR_SIGN_IN_LIMIT` | the store is full, or no pool of a signed-in user became free in time | yes |
 * | `ERR_SIGN_IN_STORE` | the store of sessions failed, or the file of a sign-in cannot be read | if the store failed |
 * | `ERR_SESSION_ENDED` | the session of a signed-in user has ended, or its tokens can no longer be refreshed | no |
 * | `ERR_CLOSED` | a closed object was used | no |
 */
export type PgIamErrorCode =
  | 'ERR_OPTION_INVALID'
  | 'ERR_OPTION_CONFLICT'
  | 'ERR_TLS_UNVERIFIED'
  | 'ERR_PEER_MISSING'
  | 'ERR_CREDENTIALS_UNAVAILABLE'
  | 'ERR_TOKEN_REQUEST_FAILED'
  | 'ERR_TOKEN_TIMEOUT'
  | 'ERR_TOKEN_INVALID'
  | 'ERR_CONNECT_FAILED'
  | 'ERR_CONNECT_TIMEOUT'
  | 'ERR_LOGIN_REJECTED'
  | 'ERR_PROTOCOL'
  | 'ERR_OCC_EXHAUSTED'
  | 'ERR_CHUNK_FAILED'
  | 'ERR_OUTCOME_UNKNOWN'
  | 'ERR_TRANSACTION_NESTED'
  | 'ERR_ABORTED'
  | 'ERR_GATEWAY_PROTOCOL'
  | 'ERR_GATEWAY_ENGINE'
  | 'ERR_DSQL_STATEMENT'
  | 'ERR_MIGRATION_FAILED'
  | 'ERR_MIGRATION_STATE'
  | 'ERR_MIGRATION_LEASE'
  | 'ERR_SIGN_IN_STATE'
  | 'ERR_SIGN_IN_EXPIRED'
  | 'ERR_SIGN_IN_DENIED'
  | 'ERR_SIGN_IN_INVALID'
  | 'ERR_SIGN_IN_UNAVAILABLE'
  | 'ERR_SIGN_IN_LIMIT'
  | 'ERR_SIGN_IN_STORE'
  | 'ERR_SESSION_ENDED'
  | 'ERR_CLOSED'

export interface PgIamErrorOptions {
  /** The remedy, as an imperative sentence. */
  hint?: string
  /** Whether the same call may succeed when repeated unchanged. Default `false`. */
  retryable?: boolean
  /** The original error, unchanged. */
  cause?: unknown
  /** Of `ERR_CHUNK_FAILED`: the number of rows that are inserted, from the first one on. */
  insertedRows?: number
}

/**
 * An error of pg-iam itself. Errors of the database, the network and the driver reach the caller unchanged.
 *
 * Use {@link isPgIamError} instead of `instanceof`: an application may load both the ESM and the CommonJS copy.
 */
export class PgIamError extends Error {
  override readonly name = 'PgIamError'
  readonly code: PgIamErrorCode
  readonly retryable: boolean
  // Only declared: fields would be own properties, and `util.inspect` would print them without a value.
  declare readonly hint?: string
  /** Of `ERR_CHUNK_FAILED`: the number of rows that are inserted, from the first one on. */
  declare readonly insertedRows?: number

  constructor(code: PgIamErrorCode, message: string, options: PgIamErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = code
    this.retryable = options.retryable ?? false
    if (options.hint !== undefined) this.hint = options.hint
    if (options.insertedRows !== undefined) this.insertedRows = options.insertedRows
    // isolatedDeclarations does not allow a computed member here (TS9038).
    Object.defineProperty(this, BRAND, { value: true })
  }
}

/**
 * Returns whether `error` is a {@link PgIamError}, from this or any other copy of the package, and has the given `code`, if any.
 *
 * Exported from `'pg-iam'`.
 */
export function isPgIamError(error: unknown, code?: PgIamErrorCode): error is PgIamError {
  if (typeof error !== 'object' || error === null || !(BRAND in error)) return false
  return code === undefined || (error as unknown as PgIamError).code === code
}

const BRAND: unique symbol = Symbol.for('pg-iam.error') as never
