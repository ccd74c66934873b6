/** Follows a server's replies without touching them: where messages end, and what the last one was. */
import { BackendType } from './message-types.js'

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

const HEADER_BYTES = 5
