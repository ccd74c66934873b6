/** An error as a PostgreSQL server reports it. */

export interface ServerErrorOptions {
  severity?: 'ERROR' | 'FATAL' | 'PANIC'
  detail?: string
  hint?: string
  cause?: unknown
}

/** What the gateway or an engine tells a client in an ErrorResponse. Its texts must hold nothing secret. */
export class ServerError extends Error {
  override readonly name = 'ServerError'
  /** Five characters, see https://www.postgresql.org/docs/current/errcodes-appendix.html */
  readonly sqlState: string
  readonly severity: 'ERROR' | 'FATAL' | 'PANIC'
  readonly detail: string | undefined
  readonly hint: string | undefined

  constructor(sqlState: string, message: string, options: ServerErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.sqlState = sqlState
    this.severity = options.severity ?? 'ERROR'
    this.detail = options.detail
    this.hint = options.hint
  }
}
