/** Follows the messages of a server through the chunks that the network makes of them, without touching them. */

export interface MessageWalk {
  /**
   * Looks at the next chunk. Returns where its last message begins in it, where the chunk ends with that message; `undefined` where
   * it ends within a message, or with one that began in an earlier chunk, and for ever after what cannot be a message.
   */
  push(chunk: Buffer): number | undefined
}

/** Must see every byte from the beginning of a message on. It makes no object for a message: a result can have a million of them. */
export function createMessageWalk(): MessageWalk {
  const header = Buffer.alloc(HEADER_BYTES)
  let headerBytes = 0
  let bodyLeft = 0
  let isLost = false

  const beginBody = (length: number): void => {
    isLost = length < LENGTH_BYTES
    bodyLeft = length - LENGTH_BYTES
  }
  /** Walks over a header that the network has cut in two. @returns how many bytes of the chunk belong to it */
  const joinHeader = (chunk: Buffer, offset: number): number => {
    const taken = Math.min(HEADER_BYTES - headerBytes, chunk.length - offset)
    chunk.copy(header, headerBytes, offset, offset + taken)
    headerBytes += taken
    if (headerBytes < HEADER_BYTES) return taken
    headerBytes = 0
    beginBody(header.readInt32BE(1))
    return taken
  }
  return {
    push(chunk) {
      let offset = 0
      let begin: number | undefined
      while (offset < chunk.length && !isLost) {
        if (bodyLeft > 0) {
          const skipped = Math.min(bodyLeft, chunk.length - offset)
          bodyLeft -= skipped
          offset += skipped
          continue
        }
        if (headerBytes === 0) begin = offset
        if (headerBytes > 0 || chunk.length - offset < HEADER_BYTES) {
          offset += joinHeader(chunk, offset)
        } else {
          beginBody(chunk.readInt32BE(offset + 1))
          offset += HEADER_BYTES
        }
      }
      return isLost || headerBytes > 0 || bodyLeft > 0 ? undefined : begin
    },
  }
}

const LENGTH_BYTES = 4
/** Type byte and length. */
const HEADER_BYTES = 1 + LENGTH_BYTES
