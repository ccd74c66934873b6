/** Cuts byte streams of the PostgreSQL protocol 3 into packets and messages. */
import type { Socket } from 'node:net'
import { BackendType, HEADER_BYTES } from './messages.js'

/** The other side broke the PostgreSQL protocol: nothing that follows can be read. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation'
}

export interface Message {
  /** The type byte, such as `'R'.charCodeAt(0)`. */
  readonly type: number
  /** The whole message: type byte, length, body. A view: copy it to keep it. */
  readonly bytes: Buffer
}

interface MessageReader {
  /** Takes what the network gave and returns the messages that it completed, in order. */
  push(chunk: Buffer): Message[]
}

/**
 * Creates a reader for messages that start with a type byte (all but the first packet of a client).
 *
 * `push` throws a `ProtocolViolation` for a length below 4 or a message above `maxMessageBytes`; the stream is unusable after it.
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
  }
}

function messageLength(bytes: Buffer, offset: number, maxMessageBytes: number): number {
  const length = bytes.readInt32BE(offset + 1) + 1
  if (length < HEADER_BYTES || length > maxMessageBytes) {
    throw new ProtocolViolation(`invalid message length ${length - 1}`)
  }
  return length
}

// Reads a socket piece by piece, for the part of a connection in which each side waits for the other.

export interface PacketReader {
  /**
   * Resolves with exactly `length` bytes. Rejects with the socket's error, or an `ECONNRESET` when the other side has closed.
   * One call at a time.
   */
  read(length: number): Promise<Buffer>
  /** How many bytes were received and not read. They stay in the socket. */
  readonly buffered: number
}

/** Creates a reader. Between two calls it has no listener on the socket, which can then be handed on. */
export function createPacketReader(socket: Socket): PacketReader {
  return {
    read: (length) => readExactly(socket, length),
    get buffered() {
      return socket.readableLength
    },
  }
}

function readExactly(socket: Socket, length: number): Promise<Buffer> {
  if (length === 0) return Promise.resolve(Buffer.alloc(0))
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off('readable', take).off('end', ended).off('close', ended).off('error', fail)
    }
    const take = (): void => {
      const bytes = socket.read(length) as Buffer | null
      if (bytes === null) return
      // At the end of the stream, `read` returns whatever is left.
      if (bytes.length < length) ended()
      else {
        settle()
        resolve(bytes)
      }
    }
    const fail = (error: Error): void => {
      settle()
      reject(error)
    }
    const ended = (): void => fail(connectionClosed())
    if (socket.destroyed || socket.readableEnded) {
      reject(connectionClosed())
      return
    }
    socket.on('readable', take).on('end', ended).on('close', ended).on('error', fail)
    take()
  })
}

export function connectionClosed(): Error {
  return Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })
}

// Follows a server's replies without touching them: where messages end, and what the last one was.

export interface ReplyTracker {
  /** Looks at the next bytes that go to the client. */
  push(chunk: Buffer): void
  /** Whether the bytes so far end with a whole message, so that another one may follow. */
  readonly atBoundary: boolean
  /** The type byte of the last message that began. */
  readonly lastType: number
  /** How many ReadyForQuery messages there were. */
  readonly readyCount: number
}

/** Creates a tracker. It makes no object for a message, since a result can have a million of them. */
export function createReplyTracker(): ReplyTracker {
  const header = Buffer.alloc(HEADER_BYTES)
  let headerBytes = 0
  let bodyLeft = 0
  let lastType = 0
  let readyCount = 0

  const begin = (type: number): void => {
    lastType = type
    if (type === BackendType.readyForQuery) readyCount++
  }

  return {
    push(chunk) {
      let offset = 0
      while (offset < chunk.length) {
        if (bodyLeft > 0) {
          const skipped = Math.min(bodyLeft, chunk.length - offset)
          bodyLeft -= skipped
          offset += skipped
        } else if (headerBytes === 0 && chunk.length - offset >= HEADER_BYTES) {
          begin(chunk[offset]!)
          bodyLeft = chunk.readInt32BE(offset + 1) - 4
          offset += HEADER_BYTES
        } else {
          const taken = Math.min(HEADER_BYTES - headerBytes, chunk.length - offset)
          chunk.copy(header, headerBytes, offset, offset + taken)
          headerBytes += taken
          offset += taken
          if (headerBytes < HEADER_BYTES) return
          headerBytes = 0
          begin(header[0]!)
          bodyLeft = header.readInt32BE(1) - 4
        }
      }
    },
    get atBoundary() {
      return bodyLeft === 0 && headerBytes === 0
    },
    get lastType() {
      return lastType
    },
    get readyCount() {
      return readyCount
    },
  }
}
