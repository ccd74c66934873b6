/** Structure checks for the messages of a PostgreSQL server (protocol 3). */
import { AuthenticationRequest, BackendType, TransactionStatus } from './messages.js'

/**
 * The maximum length of a message, except DataRow and CopyData. PostgreSQL's own messages are far smaller; only an error or a notice that
 * quotes a value of the application comes near it.
 */
const MAX_MESSAGE_BYTES: number = 1 << 20

/** The maximum length of a DataRow or CopyData message: PostgreSQL's MaxAllocSize, 1 GB. */
const MAX_STREAMED_BYTES = 0x4000_0000

/** Whether a message is forwarded before it is complete. Only DataRow and CopyData can be large. */
export function isStreamed(type: number): boolean {
  return type === BackendType.dataRow || type === BackendType.copyData
}

/**
 * Describes the error in a message header. Returns `undefined` for a valid header.
 *
 * @param length the length word, which counts itself and the body
 */
export function headerFlaw(type: number, length: number): string | undefined {
  const layout = LAYOUTS[type]
  if (layout === undefined) return `a message of the unknown type 0x${hex(type)}`
  const most = isStreamed(type) ? MAX_STREAMED_BYTES : MAX_MESSAGE_BYTES
  return length < LENGTH_BYTES + layout.least || length > most
    ? `a ${layout.name} of ${length} bytes`
    : undefined
}

/**
 * Describes the error in a message body whose header is valid. Returns `undefined` for a valid body. CopyData may have any content.
 *
 * @param from offset of the body in `bytes`
 * @param to offset of its end
 */
export function bodyFlaw(
  type: number,
  bytes: Buffer,
  from: number,
  to: number,
): string | undefined {
  const layout = LAYOUTS[type]!
  return layout.fits(bytes, from, to) ? undefined : `a malformed ${layout.name}`
}

/** Checks a DataRow that arrives in chunks: a column count, then a length before each value. */
export class RowCheck {
  /** The number of columns left; `undefined` before the column count was read. */
  #columns: number | undefined
  #valueLeft = 0
  /** The bytes read so far of a count or length. */
  #word = 0
  #wordBytes = 0

  /** Returns whether the row is valid so far. */
  push(bytes: Buffer, from: number, to: number): boolean {
    let offset = from
    while (offset < to) {
      if (this.#valueLeft > 0) {
        const taken = Math.min(this.#valueLeft, to - offset)
        this.#valueLeft -= taken
        offset += taken
        continue
      }
      if (this.#columns === 0) return false
      this.#word = (this.#word << 8) | bytes[offset]!
      this.#wordBytes++
      offset++
      if (!this.#isWordValid()) return false
    }
    return true
  }

  /** Whether the row is complete. */
  get isComplete(): boolean {
    return this.#columns === 0 && this.#valueLeft === 0
  }

  #isWordValid(): boolean {
    if (this.#columns === undefined) {
      if (this.#wordBytes < COUNT_BYTES) return true
      this.#columns = this.#word
    } else {
      if (this.#wordBytes < LENGTH_BYTES) return true
      if (this.#word < NULL_VALUE) return false
      this.#valueLeft = Math.max(0, this.#word)
      this.#columns--
    }
    this.#word = 0
    this.#wordBytes = 0
    return this.#columns <= MAX_COLUMNS
  }
}

interface Layout {
  /** The name in PostgreSQL's documentation. */
  readonly name: string
  /** The minimum length of a body, in bytes. */
  readonly least: number
  /** Whether the bytes from `from` to `to` have the documented structure. */
  readonly fits: (bytes: Buffer, from: number, to: number) => boolean
}

const LENGTH_BYTES = 4
const COUNT_BYTES = 2
/** Drivers read a column count as a signed 16-bit number. PostgreSQL's limit is 1,664 columns. */
const MAX_COLUMNS = 0x7fff
/** The length word of a NULL value. */
const NULL_VALUE = -1
/** The bytes after a column's name: table, number, type, size, modifier, format. */
const COLUMN_BYTES = 18
/** Protocol 3.2 allows cancel keys of up to 256 bytes. */
const MAX_KEY_BYTES = 256

const empty = (_bytes: Buffer, from: number, to: number): boolean => from === to
const anything = (): boolean => true

/** See https://www.postgresql.org/docs/current/protocol-message-formats.html */
const LAYOUTS: readonly (Layout | undefined)[] = table({
  R: ['authentication request', 4, fitsAuthentication],
  K: ['BackendKeyData', 8, (_, from, to) => to - from - 4 <= MAX_KEY_BYTES],
  S: ['ParameterStatus', 2, (bytes, from, to) => stringsEnd(bytes, from, to, 2) === to],
  v: ['NegotiateProtocolVersion', 8, fitsNegotiation],
  E: ['ErrorResponse', 1, fitsFields],
  N: ['NoticeResponse', 1, fitsFields],
  A: ['NotificationResponse', 6, (bytes, from, to) => stringsEnd(bytes, from + 4, to, 2) === to],
  Z: ['ReadyForQuery', 1, fitsStatus],
  T: ['RowDescription', 2, fitsColumns],
  t: [
    'ParameterDescription',
    2,
    // A statement may have up to 65,535 parameters.
    (bytes, from, to) => to - from === COUNT_BYTES + 4 * bytes.readUInt16BE(from),
  ],
  D: ['DataRow', COUNT_BYTES, fitsRow],
  C: ['CommandComplete', 1, (bytes, from, to) => stringsEnd(bytes, from, to, 1) === to],
  I: ['EmptyQueryResponse', 0, empty],
  s: ['PortalSuspended', 0, empty],
  n: ['NoData', 0, empty],
  '1': ['ParseComplete', 0, empty],
  '2': ['BindComplete', 0, empty],
  '3': ['CloseComplete', 0, empty],
  G: ['CopyInResponse', 3, fitsCopyFormats],
  H: ['CopyOutResponse', 3, fitsCopyFormats],
  W: ['CopyBothResponse', 3, fitsCopyFormats],
  d: ['CopyData', 0, anything],
  c: ['CopyDone', 0, empty],
  V: ['FunctionCallResponse', 4, fitsValue],
})

function table(
  layouts: Readonly<Record<string, readonly [string, number, Layout['fits']]>>,
): (Layout | undefined)[] {
  const byType: (Layout | undefined)[] = Array.from({ length: 256 })
  for (const [type, [name, least, fits]] of Object.entries(layouts))
    byType[code(type)] = { name, least, fits }
  return byType
}

/** The offset after `count` NUL-terminated strings, or -1 if they do not fit. */
function stringsEnd(bytes: Buffer, from: number, to: number, count: number): number {
  let offset = from
  for (let left = count; left > 0; left--) {
    const end = bytes.indexOf(0, offset)
    if (end === -1 || end >= to) return -1
    offset = end + 1
  }
  return offset
}

/** Fields of a type byte and a string each, then a final NUL. */
function fitsFields(bytes: Buffer, from: number, to: number): boolean {
  let offset = from
  while (offset < to && bytes[offset] !== 0) {
    offset = stringsEnd(bytes, offset + 1, to, 1)
    if (offset === -1) return false
  }
  return offset === to - 1
}

function fitsStatus(bytes: Buffer, from: number, to: number): boolean {
  const status = bytes[from]
  const isKnown =
    status === TransactionStatus.idle ||
    status === TransactionStatus.inTransaction ||
    status === TransactionStatus.failed
  return isKnown && to - from === 1
}

function fitsColumns(bytes: Buffer, from: number, to: number): boolean {
  let offset = from + COUNT_BYTES
  for (let left = bytes.readInt16BE(from); left > 0; left--) {
    const end = stringsEnd(bytes, offset, to, 1)
    if (end === -1) return false
    offset = end + COLUMN_BYTES
  }
  return offset === to && bytes.readInt16BE(from) >= 0
}

function fitsRow(bytes: Buffer, from: number, to: number): boolean {
  let columns = bytes.readInt16BE(from)
  let offset = from + COUNT_BYTES
  if (columns < 0) return false
  for (; columns > 0; columns--) {
    if (to - offset < LENGTH_BYTES) return false
    const length = bytes.readInt32BE(offset)
    offset += LENGTH_BYTES
    if (length > 0) {
      if (length > to - offset) return false
      offset += length
    } else if (length < NULL_VALUE) {
      return false
    }
  }
  return offset === to
}

function fitsCopyFormats(bytes: Buffer, from: number, to: number): boolean {
  return bytes[from]! <= 1 && to - from === 1 + COUNT_BYTES + 2 * bytes.readUInt16BE(from + 1)
}

function fitsNegotiation(bytes: Buffer, from: number, to: number): boolean {
  const count = bytes.readInt32BE(from + 4)
  return count >= 0 && count <= to - from && stringsEnd(bytes, from + 8, to, count) === to
}

function fitsValue(bytes: Buffer, from: number, to: number): boolean {
  return to - from === LENGTH_BYTES + Math.max(0, bytes.readInt32BE(from))
}

function fitsAuthentication(bytes: Buffer, from: number, to: number): boolean {
  const method = bytes.readInt32BE(from)
  const rest = to - from - 4
  if (method === AuthenticationRequest.md5Password) return rest === SALT_BYTES
  if (method === AuthenticationRequest.sasl)
    return bytes[to - 1] === 0 && bytes[to - 2] === 0 && rest > 1
  return METHODS_WITH_DATA.has(method) || rest === 0
}

const SALT_BYTES = 4
/** These requests carry data of their mechanism: GSSAPI and SASL continue, and SASL final. */
const METHODS_WITH_DATA: ReadonlySet<number> = new Set<number>([
  AuthenticationRequest.gssContinue,
  AuthenticationRequest.saslContinue,
  AuthenticationRequest.saslFinal,
])

function code(type: string): number {
  return type.charCodeAt(0)
}

function hex(type: number): string {
  return type.toString(16).padStart(2, '0')
}
