/** Cuts a byte stream of the PostgreSQL protocol 3 into whole messages, however the network chunked it. */
import { PgIamError } from '../errors.js'

export interface Message {
  /** The type byte, such as `'R'.charCodeAt(0)`. */
  readonly type: number
  /** The whole message: type byte, length, body. A view: copy it to keep it. */
  readonly bytes: Buffer
}

export interface MessageReader {
  /** Takes what the network gave and returns the messages that it completed, in order. */
  push(chunk: Buffer): Message[]
  /** Takes out the bytes that are not yet part of a returned message, and empties the reader. */
  takeRest(): Buffer
}

/** Type byte and length word. */
export const HEADER_BYTES = 5

/**
 * Creates a reader for messages that start with a type byte (all but the first packet of a client).
 *
 * `push` throws `ERR_PROTOCOL` for a length below 4 or a message above `maxMessageBytes`; the stream is unusable after it.
 */
export function createMessageReader(maxMessageBytes: number): MessageReader {
  let pending: Buffer[] = []
  let pendingBytes = 0
  let needed = HEADER_BYTES

  return {
    push(chunk) {
      pending.push(chunk)
      pendingBytes += chunk.length
      // Joining only once a message is complete keeps a large message, which comes in many chunks, from being copied for each of them.
      if (pendingBytes < needed) return []
      const bytes = pending.length === 1 ? chunk : Buffer.concat(pending, pendingBytes)
      const messages: Message[] = []
      let offset = 0
      needed = HEADER_BYTES
      while (bytes.length - offset >= HEADER_BYTES) {
        const length = messageLength(bytes, offset, maxMessageBytes)
        if (bytes.length - offset < length) {
          needed = length
          break
        }
        messages.push({ type: bytes[offset]!, bytes: bytes.subarray(offset, offset + length) })
        offset += length
      }
      const rest = bytes.subarray(offset)
      pending = rest.length === 0 ? [] : [rest]
      pendingBytes = rest.length
      return messages
    },
    takeRest() {
      const rest = Buffer.concat(pending, pendingBytes)
      pending = []
      pendingBytes = 0
      needed = HEADER_BYTES
      return rest
    },
  }
}

function messageLength(bytes: Buffer, offset: number, maxMessageBytes: number): number {
  const length = bytes.readInt32BE(offset + 1) + 1
  if (length < HEADER_BYTES || length > maxMessageBytes) {
    throw new PgIamError('ERR_PROTOCOL', `invalid message length ${length - 1}`)
  }
  return length
}
