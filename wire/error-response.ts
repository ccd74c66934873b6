/** Server errors, and the writer and parser of ErrorResponse. */
import { BackendType, cString, HEADER_BYTES, encodeMessage } from './messages.js'

export interface ServerErrorOptions {
  severity?: 'ERROR' | 'FATAL' | 'PANIC'
  detail?: string
  hint?: string
  /** The position of the error in the query, in characters from 1. */
  position?: number | string
  /** The context, such as a call stack. */
  where?: string
  /** The names of the objects that the error is about. */
  schema?: string
  table?: string
  column?: string
  dataType?: string
  constraint?: string
  cause?: unknown
}

/** The fields of an ErrorResponse that only have a name, by their code in the protocol. */
const NAMED_FIELDS = [
  ['P', 'position'],
  ['W', 'where'],
  ['s', 'schema'],
  ['t', 'table'],
  ['c', 'column'],
  ['d', 'dataType'],
  ['n', 'constraint'],
] as const
type NamedField = (typeof NAMED_FIELDS)[number][1]

/** An error that the gateway or an engine sends to a client as an ErrorResponse. Its texts must contain no secrets. */
export class ServerError extends Error {
  override readonly name = 'ServerError'
  /** SQLSTATE, five characters, see https://www.postgresql.org/docs/current/errcodes-appendix.html */
  readonly sqlState: string
  readonly severity: 'ERROR' | 'FATAL' | 'PANIC'
  readonly detail: string | undefined
  readonly hint: string | undefined
  /** The further fields that were given. */
  readonly fields: Readonly<Partial<Record<NamedField, number | string>>>

  constructor(sqlState: string, message: string, options: ServerErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.sqlState = sqlState
    this.severity = options.severity ?? 'ERROR'
    this.detail = options.detail
    this.hint = options.hint
    this.fields = Object.fromEntries(
      NAMED_FIELDS.flatMap(([, name]) =>
        options[name] === undefined ? [] : [[name, options[name]]],
      ),
    )
  }

  /** The SQLSTATE, under the name that drivers use. */
  get code(): string {
    return this.sqlState
  }
}

/** Writes an ErrorResponse. */
export function errorResponse(error: ServerError): Buffer {
  const fields: [code: string, value: string | undefined][] = [
    ['S', error.severity],
    // Unlike `S`, never localized. Sent since PostgreSQL 9.6.
    ['V', error.severity],
    ['C', error.sqlState],
    ['M', error.message],
    ['D', error.detail],
    ['H', error.hint],
    ...NAMED_FIELDS.map(([code, name]): [string, string | undefined] => {
      const value = error.fields[name]
      return [code, value === undefined ? undefined : String(value)]
    }),
  ]
  const present = fields.flatMap(([code, value]) =>
    value === undefined ? [] : [cString(code + value)],
  )
  return encodeMessage(BackendType.errorResponse, ...present, Buffer.alloc(1))
}

/**
 * The fields of a complete ErrorResponse or NoticeResponse by their type, see
 * https://www.postgresql.org/docs/current/protocol-error-fields.html. Malformed fields are left out.
 */
export function errorFields(response: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  let offset = HEADER_BYTES
  while (offset < response.length && response[offset] !== 0) {
    const end = response.indexOf(0, offset)
    if (end === -1) break
    fields.set(String.fromCharCode(response[offset]!), response.toString('utf8', offset + 1, end))
    offset = end + 1
  }
  return fields
}

/** Parses a complete ErrorResponse. Missing fields get PostgreSQL's defaults. */
export function parseErrorResponse(response: Buffer): ServerError {
  const fields = errorFields(response)
  const detail = fields.get('D')
  const hint = fields.get('H')
  const severity = severityOf(fields)
  return new ServerError(fields.get('C') ?? 'XX000', fields.get('M') ?? 'unknown error', {
    severity: severity === 'FATAL' || severity === 'PANIC' ? severity : 'ERROR',
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  })
}

/** `V` is the severity in English, since PostgreSQL 9.6; `S` is the localized one. */
export function severityOf(fields: ReadonlyMap<string, string>): string | undefined {
  return fields.get('V') ?? fields.get('S')
}
