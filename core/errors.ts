/** The one error class of pg-iam, its codes, and the guard that recognises it. */

/**
 * Every code that a {@link PgIamError} can carry.
 *
 * | code | when | retryable |
 * | --- | --- | --- |
 * | `ERR_OPTION_INVALID` | an option has a wrong type or range, or is unknown | no |
 * | `ERR_OPTION_CONFLICT` | two sources disagree, such as a password beside a login | no |
 * | `ERR_TLS_UNVERIFIED` | a setting or a server would have a token sent without verified TLS | no |
 * | `ERR_PEER_MISSING` | an optional package is not installed; `hint` is the install line | no |
 * | `ERR_CREDENTIALS_UNAVAILABLE` | no cloud identity could be found or read | by cause |
 * | `ERR_TOKEN_REQUEST_FAILED` | the token could not be made | by cause |
 * | `ERR_TOKEN_TIMEOUT` | no token within `tokenTimeoutMs` | yes |
 * | `ERR_TOKEN_INVALID` | the token came empty, unreadable or already expired | no |
 * | `ERR_CONNECT_FAILED` | none of several hosts answered, and `cause` holds the error of each; or DNS did not | yes |
 * | `ERR_CONNECT_TIMEOUT` | no physical connection within `connectTimeoutMs` | yes |
 * | `ERR_LOGIN_REJECTED` | the server wants a login that a token cannot answer | no |
 * | `ERR_PROTOCOL` | the server broke the PostgreSQL protocol, or is no PostgreSQL server | no |
 * | `ERR_OCC_EXHAUSTED` | each attempt of a transaction met a conflict; `cause` is the last one | yes |
 * | `ERR_OUTCOME_UNKNOWN` | the connection was lost after COMMIT was written | no |
 * | `ERR_TRANSACTION_NESTED` | a transaction function was called inside of another one | no |
 * | `ERR_ABORTED` | the caller's signal has fired | no |
 * | `ERR_GATEWAY_PROTOCOL` | a client of the gateway broke the PostgreSQL protocol | no |
 * | `ERR_GATEWAY_ENGINE` | the engine behind the gateway could not be started or was lost | yes |
 * | `ERR_CLOSED` | something that was closed is used again | no |
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
  | 'ERR_OUTCOME_UNKNOWN'
  | 'ERR_TRANSACTION_NESTED'
  | 'ERR_ABORTED'
  | 'ERR_GATEWAY_PROTOCOL'
  | 'ERR_GATEWAY_ENGINE'
  | 'ERR_CLOSED'

export interface PgIamErrorOptions {
  /** What to do about it, as an imperative sentence. */
  hint?: string
  /** Whether the same call may succeed when repeated unchanged. Default `false`. */
  retryable?: boolean
  /** The original error, always kept as it came. */
  cause?: unknown
}

/**
 * An error of pg-iam itself. Errors of the database, the network and the driver reach the caller as they are.
 *
 * Use {@link isPgIamError} rather than `instanceof`: an application may hold both the ESM and the CommonJS copy.
 */
export class PgIamError extends Error {
  override readonly name = 'PgIamError'
  readonly code: PgIamErrorCode
  readonly retryable: boolean
  // Declared only: as a field it would be an own property, and be printed, where there is no hint.
  declare readonly hint?: string

  constructor(code: PgIamErrorCode, message: string, options: PgIamErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = code
    this.retryable = options.retryable ?? false
    if (options.hint !== undefined) this.hint = options.hint
    // A computed member would be refused by isolatedDeclarations (TS9038).
    Object.defineProperty(this, BRAND, { value: true })
  }
}

/**
 * Tells whether `error` is a {@link PgIamError}, of this or any other copy of the package, and of `code` when one is given.
 *
 * Exported from `'pg-iam'`.
 */
export function isPgIamError(error: unknown, code?: PgIamErrorCode): error is PgIamError {
  if (typeof error !== 'object' || error === null || !(BRAND in error)) return false
  return code === undefined || (error as unknown as PgIamError).code === code
}

const BRAND: unique symbol = Symbol.for('pg-iam.error') as never
