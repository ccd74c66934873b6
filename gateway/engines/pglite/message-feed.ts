/** Gives PostgreSQL one message at a time. */
import { FrontendType } from '../../wire/message-types.js'
import { COPY_VIOLATION } from './own-messages.js'

export interface MessageFeed {
  /** @param messages whole ones */
  add(messages: Uint8Array): void
  readonly isEmpty: boolean
  /** Begins with the next message. */
  next(): void
  /**
   * Begins with the next message while a COPY takes data. One that has no place there would have PostgreSQL end the connection, and
   * with it itself: the COPY is given up instead, and the message comes after it.
   */
  nextOfCopy(): void
  /** Whether all of the current message was read. */
  readonly isCurrentRead: boolean
  /** The next bytes of the current message. */
  readCurrent(length: number): Uint8Array
}

export function createMessageFeed(): MessageFeed {
  let chunks: Uint8Array[] = []
  let current: Uint8Array = NOTHING
  let offset = 0

  const begin = (message: Uint8Array): void => {
    current = message
    offset = 0
  }
  const next = (): void => {
    const [chunk] = chunks
    if (chunk === undefined) return begin(NOTHING)
    const length = 1 + new DataView(chunk.buffer, chunk.byteOffset + 1).getInt32(0)
    if (length >= chunk.length) chunks.shift()
    else chunks[0] = chunk.subarray(length)
    begin(chunk.subarray(0, length))
  }
  return {
    add(messages) {
      if (messages.length > 0) chunks = [...chunks, messages]
    },
    get isEmpty() {
      return chunks.length === 0
    },
    next,
    nextOfCopy() {
      const type = chunks[0]?.[0]
      if (type === undefined || OF_COPY.has(type)) next()
      else begin(COPY_VIOLATION)
    },
    get isCurrentRead() {
      return offset === current.length
    },
    readCurrent(length) {
      const piece = current.subarray(offset, offset + length)
      offset += piece.length
      return piece
    },
  }
}

const NOTHING = new Uint8Array(0)

const OF_COPY: ReadonlySet<number> = new Set([
  FrontendType.copyData,
  FrontendType.copyDone,
  FrontendType.copyFail,
  FrontendType.flush,
  FrontendType.sync,
])
