/** Splits byte streams of the PostgreSQL protocol 3 into packets and messages. */
import type { Duplex } from 'node:stream'
import { BackendType, HEADER_BYTES } from './messages.js'

/** The peer violated the PostgreSQL protocol. The rest of the stream cannot be parsed. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation'
}

export interface Message {
  /** The type byte, such as `'R'.charCodeAt(0)`. */
  readonly type: number
  /** The complete message: type byte, length, body. A view of the chunk; copy it to keep it. */
  readonly bytes: Buffer
}

interface MessageReader {
  /** Takes the next chunk of the stream. Returns the messages that it completes, in order. */
  push(chunk: Buffer): Message[]
  /** Whether no incomplete message is held. */
  readonly isEmpty: boolean
}

/**
 * Creates a reader for messages that start with a type byte (all but the first packet of a client).
 *
 * `push` throws a `ProtocolViolation` for a length below 4 or a message above `maxMessageBytes`. The reader is unusable after that.
 */
export function createMessageReader(maxMessageBytes: number): MessageReader {
  let pending: Buffer[] = []
  let pendingBytes = 0
  let needed = HEADER_BYTES

  return {
    push(chunk) {
      pending.push(chunk)
      pendingBytes += chunk.length
      // Chunks are joined only when a message is complete. Otherwise a large message would be copied once for each of its chunks.
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
    get isEmpty() {
      return pendingBytes === 0
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

/** Whether the bytes are one or more whole messages. */
export function isWhole(bytes: Buffer): boolean {
  let offset = 0
  while (offset + HEADER_BYTES <= bytes.length && bytes.readInt32BE(offset + 1) >= 4)
    offset += 1 + bytes.readInt32BE(offset + 1)
  return offset > 0 && offset === bytes.length
}

/**
 * Calls `take` for each message of a buffer that contains whole messages.
 *
 * @throws ProtocolViolation for another buffer. Without this check, a length of -1 would be an endless loop.
 */
export function eachMessage(messages: Buffer, take: (message: Buffer) => void): void {
  for (let start = 0, end = 0; start < messages.length; start = end) {
    const isCut = messages.length - start < HEADER_BYTES
    end = start + (isCut ? Infinity : messageLength(messages, start, Infinity))
    if (end > messages.length) throw new ProtocolViolation('not whole messages')
    take(messages.subarray(start, end))
  }
}

// Reads an exact number of bytes from a socket, for the part of a connection where the two sides take turns.

/** Between two calls it has no listener on the socket, so the socket can be handed over. */
export class PacketReader {
  readonly #socket: Duplex

  constructor(socket: Duplex) {
    this.#socket = socket
  }

  /**
   * Resolves with exactly `length` bytes. Rejects with the socket's error, or with `ECONNRESET` if the peer has closed the connection.
   * Calls must not overlap.
   */
  read(length: number): Promise<Buffer> {
    return readExactly(this.#socket, length)
  }

  /** The number of bytes received and not yet read. They stay in the socket. */
  get buffered(): number {
    return this.#socket.readableLength
  }
}

function readExactly(socket: Duplex, length: number): Promise<Buffer> {
  if (length === 0) return Promise.resolve(Buffer.alloc(0))
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off('readable', take).off('end', ended).off('close', ended).off('error', fail)
    }
    const take = (): void => {
      const bytes = socket.read(length) as Buffer | null
      if (bytes === null) return
      // At the end of the stream, `read` returns the remaining bytes.
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
    // Mostly the bytes are there: adding and removing four listeners takes longer than the read.
    if (length <= socket.readableLength) {
      resolve(socket.read(length) as Buffer)
      return
    }
    socket.on('readable', take).on('end', ended).on('close', ended).on('error', fail)
    take()
  })
}

export function connectionClosed(): Error {
  return Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })
}

// Observes a server's replies: message boundaries, the last message type, and ReadyForQuery messages.

export interface ReplyTracker {
  /** Takes the next bytes sent to the client. Throws a `ProtocolViolation` for a length below 4; the chunk is then not counted. */
  push(chunk: Buffer): void
  /** Whether the bytes so far end with a complete message, so that another message may follow. */
  readonly atBoundary: boolean
  /** The type byte of the last message that started. */
  readonly lastType: number
  /** The number of ReadyForQuery messages so far. */
  readonly readyCount: number
  /** The transaction status of the last ReadyForQuery message, see `TransactionStatus`. 0 before the first one. */
  readonly transactionStatus: number
}

/**
 * Creates a tracker. It allocates no object per message, since a result can have a million of them.
 *
 * @param begun called with the type of each message that starts
 */
export function createReplyTracker(begun?: (type: number) => void): ReplyTracker {
  const header = Buffer.alloc(HEADER_BYTES)
  let headerBytes = 0
  let bodyLeft = 0
  let lastType = 0
  let readyCount = 0
  let transactionStatus = 0

  const begin = (type: number, length: number): void => {
    if (length < 4) throw new ProtocolViolation(`invalid message length ${length}`)
    bodyLeft = length - 4
    lastType = type
    if (type === BackendType.readyForQuery) readyCount++
    begun?.(type)
  }

  const push = (chunk: Buffer): void => {
    let offset = 0
    while (offset < chunk.length) {
      if (bodyLeft > 0) {
        if (lastType === BackendType.readyForQuery) transactionStatus = chunk[offset]!
        const skipped = Math.min(bodyLeft, chunk.length - offset)
        bodyLeft -= skipped
        offset += skipped
      } else if (headerBytes === 0 && chunk.length - offset >= HEADER_BYTES) {
        begin(chunk[offset]!, chunk.readInt32BE(offset + 1))
        offset += HEADER_BYTES
      } else {
        const taken = Math.min(HEADER_BYTES - headerBytes, chunk.length - offset)
        chunk.copy(header, headerBytes, offset, offset + taken)
        headerBytes += taken
        offset += taken
        if (headerBytes < HEADER_BYTES) return
        headerBytes = 0
        begin(header[0]!, header.readInt32BE(1))
      }
    }
  }

  return {
    push(chunk) {
      const before = [headerBytes, bodyLeft] as const
      try {
        push(chunk)
      } catch (error) {
        ;[headerBytes, bodyLeft] = before
        throw error
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
    get transactionStatus() {
      return transactionStatus
    },
  }
}
