/** Parses and filters replies of PostgreSQL, and writes the engine's own messages. */
import { createMessageReader } from '../../../wire/framing.js'
import {
  HEADER_BYTES,
  BackendType,
  cString,
  FrontendType,
  encodeMessage,
} from '../../../wire/messages.js'
import { parseErrorResponse, type ServerError } from '../../../wire/error-response.js'

export function simpleQuery(sql: string): Buffer {
  return encodeMessage(FrontendType.query, cString(sql))
}

/** Ends a COPY FROM STDIN. PostgreSQL ignores the message if no COPY is in progress. */
export function copyFail(reason: string): Buffer {
  return encodeMessage(FrontendType.copyFail, cString(reason))
}

/** Splits a buffer of whole messages, without copying. */
export function messagesOf(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = []
  for (let offset = 0; offset < bytes.length;) {
    const end = offset + 1 + bytes.readInt32BE(offset + 1)
    messages.push(bytes.subarray(offset, end))
    offset = end
  }
  return messages
}

/** The NUL-terminated string at `offset`, and the offset after it. */
export function textAt(bytes: Buffer, offset: number): { text: string; end: number } {
  const nul = bytes.indexOf(0, offset)
  const end = nul === -1 ? bytes.length : nul
  return { text: bytes.toString('utf8', offset, end), end: end + 1 }
}

/** The reply to the engine's own SQL. */
export interface OwnReply {
  /** The rows of all statements. The columns are text. */
  readonly rows: readonly (string | null)[][]
  /** The first error. */
  readonly error: ServerError | undefined
}

export function ownReply(reply: Buffer): OwnReply {
  const messages = createMessageReader(MAX_OWN_REPLY_BYTES).push(reply)
  const error = messages.find(({ type }) => type === BackendType.errorResponse)
  return {
    rows: messages.filter(({ type }) => type === DATA_ROW).map(({ bytes }) => columnsOf(bytes)),
    error: error && parseErrorResponse(error.bytes),
  }
}

const MAX_OWN_REPLY_BYTES = 0x3fff_ffff
const DATA_ROW = 'D'.charCodeAt(0)

function columnsOf(row: Buffer): (string | null)[] {
  const columns: (string | null)[] = []
  let offset = HEADER_BYTES + 2
  for (let left = row.readInt16BE(HEADER_BYTES); left > 0; left--) {
    const length = row.readInt32BE(offset)
    offset += 4
    columns.push(length === -1 ? null : row.toString('utf8', offset, offset + length))
    offset += Math.max(length, 0)
  }
  return columns
}

/** Gets a whole message. Returns the bytes to send in its place, or `undefined` to drop it. */
export type ReplyHandler = (message: Buffer) => Buffer | undefined

/** Passes replies through, and calls handlers for certain message types. */
export interface ReplyFilter {
  /** Accepts output of PGlite, which may end within a message, and returns the bytes to send. */
  push(chunk: Buffer): Buffer[]
  /** Whether the sent bytes end at a message boundary. */
  readonly atBoundary: boolean
}

/** @param handlers by type byte. Only messages with a handler are buffered; all others, such as rows, pass through. */
export function createReplyFilter(handlers: ReadonlyMap<number, ReplyHandler>): ReplyFilter {
  /** The received part of a header, or of a message with a handler. */
  let collected: Buffer = NOTHING
  let passingBytes = 0

  return {
    push(chunk) {
      const bytes = collected.length === 0 ? chunk : Buffer.concat([collected, chunk])
      collected = NOTHING
      const sent: Buffer[] = []
      let offset = Math.min(passingBytes, bytes.length)
      passingBytes -= offset
      let unsent = 0
      const send = (end: number): void => {
        if (end > unsent) sent.push(bytes.subarray(unsent, end))
        unsent = end
      }
      while (offset < bytes.length) {
        const isShort = bytes.length - offset < HEADER_BYTES
        const end = isShort ? Infinity : offset + 1 + bytes.readInt32BE(offset + 1)
        const handler = handlers.get(bytes[offset]!)
        if (isShort || (handler !== undefined && end > bytes.length)) {
          send(offset)
          collected = bytes.subarray(offset)
          return sent
        }
        if (handler !== undefined) {
          send(offset)
          const instead = handler(bytes.subarray(offset, end))
          if (instead !== undefined) sent.push(instead)
          unsent = end
        } else if (end > bytes.length) {
          passingBytes = end - bytes.length
        }
        offset = end
      }
      send(bytes.length)
      return sent
    },
    get atBoundary() {
      return passingBytes === 0
    },
  }
}

const NOTHING: Buffer = Buffer.alloc(0)
