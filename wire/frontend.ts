/** Splits a client's stream after login into complete messages, and checks the structure of each. */
import { ServerError } from './error-response.js'
import { ProtocolViolation } from './framing.js'
import { FrontendType, HEADER_BYTES } from './messages.js'

interface FrontendReader {
  /**
   * Takes the next chunk of the stream. Returns the bytes of the messages that it completes, in one buffer, or `undefined` if it completes
   * none. Returns nothing more after a Terminate.
   *
   * Throws a `ProtocolViolation` for bytes that violate the protocol, and a `ServerError` for a message above the buffer limit. The reader
   * is unusable after that.
   */
  push(chunk: Buffer): Buffer | undefined
  /** Ignores all further chunks. Returns the bytes of the incomplete message. */
  discard(): Buffer
  /** The bytes of memory allocated for an incomplete message. */
  readonly heldBytes: number
  /** Whether the client has sent a Terminate, or `discard` was called. */
  readonly terminated: boolean
}

/** PostgreSQL's limit for messages that contain a query or data: one byte below its largest allocation. */
export const MAX_MESSAGE_BYTES = 0x3fff_ffff

/**
 * @param maxMessageBytes the limit of the protocol for messages with a query or data; all others are limited to 10,000 bytes
 * @param maxBufferedBytes the option of this name: a limit for messages of all types
 * @param seen called with the type of each complete message, but not of a Terminate
 */
export function createFrontendReader(
  maxMessageBytes: number = MAX_MESSAGE_BYTES,
  maxBufferedBytes: number = Infinity,
  seen?: (type: number) => void,
): FrontendReader {
  /** Starts with an incomplete message; may have spare capacity. */
  let store: Buffer = NOTHING
  let stored = 0
  /** The minimum number of bytes to store before parsing again. */
  let needed = HEADER_BYTES
  let terminated = false

  // Chunks are copied: a one-byte Buffer costs about a hundred bytes, and a view would keep a whole large chunk in memory. The capacity is
  // doubled, not allocated up front, since a client may announce a gigabyte and never send it.
  const keep = (bytes: Buffer): void => {
    const end = stored + bytes.length
    if (end > store.length) {
      const room = Math.min(needed, Math.max(2 * store.length, FIRST_ROOM_BYTES))
      const larger = Buffer.allocUnsafeSlow(Math.max(end, room))
      store.copy(larger, 0, 0, stored)
      store = larger
    }
    bytes.copy(store, stored)
    stored = end
  }
  const forget = (): void => {
    store = NOTHING
    stored = 0
  }

  return {
    get heldBytes() {
      return store.length
    },
    get terminated() {
      return terminated
    },
    discard() {
      terminated = true
      const rest = store.subarray(0, stored)
      forget()
      return rest
    },
    push(chunk) {
      if (terminated) return undefined
      let bytes = chunk
      if (stored > 0) {
        keep(chunk)
        if (stored < needed) return undefined
        bytes = store.subarray(0, stored)
        forget()
      }
      let offset = 0
      needed = HEADER_BYTES
      while (bytes.length - offset >= HEADER_BYTES) {
        const length = messageLength(bytes, offset, maxMessageBytes)
        if (length > maxBufferedBytes) throw tooLong(length, maxBufferedBytes)
        if (bytes.length - offset < length) {
          needed = length
          break
        }
        const fault = structuralFault(bytes, offset, offset + length)
        if (fault !== undefined) throw new ProtocolViolation(fault)
        if (bytes[offset] === FrontendType.terminate) {
          terminated = true
          break
        }
        seen?.(bytes[offset]!)
        offset += length
      }
      if (!terminated && offset < bytes.length) keep(bytes.subarray(offset))
      if (offset === 0) return undefined
      return offset === bytes.length ? bytes : bytes.subarray(0, offset)
    },
  }
}

/** The messages that a ReadyForQuery answers. */
export const ENDS_REQUEST: ReadonlySet<number> = new Set<number>([
  FrontendType.query,
  FrontendType.sync,
  FrontendType.functionCall,
])

const NOTHING: Buffer = Buffer.alloc(0)
/** The size of two socket reads. */
const FIRST_ROOM_BYTES = 131_072
const MAX_SMALL_MESSAGE_BYTES = 10_000

/** The message types that PostgreSQL allows to be large. The type is checked with the header: an unknown type may announce any length. */
const LARGE = new Set<number>([
  FrontendType.query,
  FrontendType.parse,
  FrontendType.bind,
  FrontendType.copyData,
  FrontendType.functionCall,
])
const KNOWN = new Set<number>(Object.values(FrontendType))

function messageLength(bytes: Buffer, offset: number, maxMessageBytes: number): number {
  const type = bytes[offset]!
  if (!KNOWN.has(type)) throw new ProtocolViolation(`invalid frontend message type ${type}`)
  const length = bytes.readInt32BE(offset + 1) + 1
  const most = LARGE.has(type) ? maxMessageBytes : MAX_SMALL_MESSAGE_BYTES
  if (length < HEADER_BYTES || length > most)
    throw new ProtocolViolation(`invalid message length ${length - 1}`)
  return length
}

function tooLong(length: number, most: number): ServerError {
  return new ServerError(
    '54000',
    `a message of ${length} bytes is longer than "maxBufferedBytes"`,
    {
      severity: 'FATAL',
      detail: `The gateway buffers at most ${most} bytes of an incomplete message.`,
      hint: 'Raise the "maxBufferedBytes" option of the gateway, or send the data in smaller parts, for example with COPY.',
    },
  )
}

// Checks the structure of a client's messages, so that engines only receive valid ones.

/**
 * Describes the structural error in one complete frontend message. Returns `undefined` for a valid message.
 *
 * PostgreSQL rejects a malformed message. PGlite enters an endless loop, and a proxy that forwards one may disagree with its server about
 * where the next message starts.
 *
 * @param bytes contains the message from `start` (its type byte) to `end`
 */
function structuralFault(bytes: Buffer, start: number, end: number): string | undefined {
  const body = start + HEADER_BYTES
  const type: number = bytes[start]!
  switch (type) {
    case FrontendType.query:
    case FrontendType.copyFail:
      return isExactly(afterText(bytes, body, end), end)
    case FrontendType.parse:
      return isExactly(afterParse(bytes, body, end), end)
    case FrontendType.bind:
      return isExactly(afterBind(bytes, body, end), end)
    case FrontendType.describe:
    case FrontendType.close:
      return isExactly(afterTarget(bytes, body, end), end)
    case FrontendType.execute:
      return isExactly(after(4, afterText(bytes, body, end), end), end)
    case FrontendType.functionCall:
      return isExactly(afterFunctionCall(bytes, body, end), end)
    case FrontendType.copyData:
      return undefined
    case FrontendType.sync:
    case FrontendType.flush:
    case FrontendType.copyDone:
    case FrontendType.terminate:
      return isExactly(body, end)
    case FrontendType.password:
      return 'a password message after the login'
    default:
      return `invalid frontend message type ${type}`
  }
}

/** Returned by the functions below if the message ends too early. */
const NOWHERE = -1

function isExactly(offset: number, end: number): string | undefined {
  return offset === end ? undefined : 'invalid message format'
}

function after(length: number, offset: number, end: number): number {
  return offset === NOWHERE || offset + length > end ? NOWHERE : offset + length
}

function afterText(bytes: Buffer, offset: number, end: number): number {
  if (offset === NOWHERE) return NOWHERE
  const nul = bytes.indexOf(0, offset)
  return nul === -1 || nul >= end ? NOWHERE : nul + 1
}

/** A 16-bit count, then as many items of a fixed size. */
function afterItems(size: number, bytes: Buffer, offset: number, end: number): number {
  const items = after(2, offset, end)
  if (items === NOWHERE) return NOWHERE
  return after(bytes.readUInt16BE(offset) * size, items, end)
}

/** A 16-bit count, then as many values, each with its length in front. A length of -1 is NULL. */
function afterValues(bytes: Buffer, offset: number, end: number): number {
  let next = after(2, offset, end)
  if (next === NOWHERE) return NOWHERE
  for (let left = bytes.readUInt16BE(offset); left > 0; left--) {
    const value = after(4, next, end)
    if (value === NOWHERE) return NOWHERE
    const length = bytes.readInt32BE(next)
    if (length < -1) return NOWHERE
    next = after(Math.max(length, 0), value, end)
    if (next === NOWHERE) return NOWHERE
  }
  return next
}

/** Statement name, query, parameter types. */
function afterParse(bytes: Buffer, offset: number, end: number): number {
  return afterItems(4, bytes, afterText(bytes, afterText(bytes, offset, end), end), end)
}

/** Portal, statement name, parameter formats, parameters, result formats. */
function afterBind(bytes: Buffer, offset: number, end: number): number {
  const formats = afterItems(2, bytes, afterText(bytes, afterText(bytes, offset, end), end), end)
  return afterItems(2, bytes, afterValues(bytes, formats, end), end)
}

/** `S` or `P`, and the name of a statement or portal. */
function afterTarget(bytes: Buffer, offset: number, end: number): number {
  const kind = bytes[offset]
  if (offset >= end || (kind !== STATEMENT && kind !== PORTAL)) return NOWHERE
  return afterText(bytes, offset + 1, end)
}

const STATEMENT = 'S'.charCodeAt(0)
const PORTAL = 'P'.charCodeAt(0)

/** Function, argument formats, arguments, result format. */
function afterFunctionCall(bytes: Buffer, offset: number, end: number): number {
  const formats = afterItems(2, bytes, after(4, offset, end), end)
  return after(2, afterValues(bytes, formats, end), end)
}

// The content of a message.

/** A message that a client sends after its login. Texts are decoded as UTF-8. */
export type FrontendMessage =
  | { readonly type: 'query'; readonly sql: string }
  | {
      readonly type: 'parse'
      /** Empty for the unnamed statement. */
      readonly statement: string
      readonly sql: string
      /** The OIDs of the parameters that the client specifies, 0 for those that it does not. */
      readonly parameterTypes: readonly number[]
    }
  | {
      readonly type: 'bind'
      /** Empty for the unnamed portal. */
      readonly portal: string
      readonly statement: string
      /** The parameters in the formats below. */
      readonly values: readonly (Buffer | null)[]
      /** 0 for text, 1 for binary: one for each value, or one for all, or none if all are text. */
      readonly formats: readonly number[]
      /** The formats that the client wants its results in, likewise. */
      readonly resultFormats: readonly number[]
    }
  | {
      readonly type: 'describe' | 'close'
      readonly of: 'statement' | 'portal'
      readonly name: string
    }
  | {
      readonly type: 'execute'
      readonly portal: string
      /** 0 for no limit. */ readonly maxRows: number
    }
  | { readonly type: 'copyData'; readonly data: Buffer }
  | { readonly type: 'copyFail'; readonly message: string }
  | { readonly type: 'functionCall'; readonly functionOid: number }
  /** PasswordMessage, SASLInitialResponse or SASLResponse, before the session. */
  | { readonly type: 'password'; readonly data: Buffer }
  | { readonly type: 'sync' | 'flush' | 'copyDone' | 'terminate' }

/**
 * Reads a whole message of a client, header included.
 *
 * @throws ProtocolViolation for bytes that are not one whole message of valid structure
 */
export function readFrontendMessage(message: Uint8Array): FrontendMessage {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength)
  const isWhole = bytes.length >= HEADER_BYTES && bytes.readInt32BE(1) === bytes.length - 1
  if (isWhole && bytes[0] === FrontendType.password)
    return { type: 'password', data: bytes.subarray(HEADER_BYTES) }
  const fault = isWhole ? structuralFault(bytes, 0, bytes.length) : 'not one whole message'
  if (fault !== undefined) throw new ProtocolViolation(fault)
  const body = createBodyReader(bytes)
  const type: number = bytes[0]!
  switch (type) {
    case FrontendType.query:
      return { type: 'query', sql: body.text() }
    case FrontendType.parse:
      return {
        type: 'parse',
        statement: body.text(),
        sql: body.text(),
        parameterTypes: body.list(() => body.int32() >>> 0),
      }
    case FrontendType.bind:
      return {
        type: 'bind',
        portal: body.text(),
        statement: body.text(),
        formats: body.list(() => body.int16()),
        values: body.list(() => body.value()),
        resultFormats: body.list(() => body.int16()),
      }
    case FrontendType.describe:
    case FrontendType.close:
      return {
        type: type === FrontendType.describe ? 'describe' : 'close',
        of: body.byte() === STATEMENT ? 'statement' : 'portal',
        name: body.text(),
      }
    case FrontendType.execute:
      return { type: 'execute', portal: body.text(), maxRows: body.int32() }
    case FrontendType.copyData:
      return { type: 'copyData', data: bytes.subarray(HEADER_BYTES) }
    case FrontendType.copyFail:
      return { type: 'copyFail', message: body.text() }
    case FrontendType.functionCall:
      return { type: 'functionCall', functionOid: body.int32() >>> 0 }
    case FrontendType.sync:
      return { type: 'sync' }
    case FrontendType.flush:
      return { type: 'flush' }
    case FrontendType.copyDone:
      return { type: 'copyDone' }
    default:
      return { type: 'terminate' }
  }
}

interface BodyReader {
  byte(): number
  int16(): number
  int32(): number
  text(): string
  value(): Buffer | null
  list<T>(read: () => T): T[]
}

/** Reads the body of a message whose structure was checked. */
function createBodyReader(bytes: Buffer): BodyReader {
  let offset = HEADER_BYTES
  const reader: BodyReader = {
    byte: () => bytes[offset++]!,
    int16: () => bytes.readUInt16BE((offset += 2) - 2),
    int32: () => bytes.readInt32BE((offset += 4) - 4),
    text() {
      const end = bytes.indexOf(0, offset)
      const text = bytes.toString('utf8', offset, end)
      offset = end + 1
      return text
    },
    value() {
      const length = reader.int32()
      if (length < 0) return null
      return bytes.subarray(offset, (offset += length))
    },
    list: (read) => Array.from({ length: reader.int16() }, read),
  }
  return reader
}
