/** Follows the messages of a server through the chunks that the network makes of them, without touching them. */

/**
 * Must see every byte from the beginning of a message on. It makes no object for a message: a result can have a million of them.
 */
export class MessageWalk {
  /** Where the message before that last one begins in the chunk, or `undefined` where it does not. */
  previous: number | undefined
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #headerBytes = 0
  #bodyLeft = 0
  #isLost = false

  /**
   * Looks at the next chunk. Returns where its last message begins in it, where the chunk ends with that message; `undefined` where
   * it ends within a message, or with one that began in an earlier chunk, and for ever after what cannot be a message.
   */
  push(chunk: Buffer): number | undefined {
    let offset = 0
    let begin: number | undefined
    this.previous = undefined
    while (offset < chunk.length && !this.#isLost) {
      if (this.#bodyLeft > 0) {
        const skipped = Math.min(this.#bodyLeft, chunk.length - offset)
        this.#bodyLeft -= skipped
        offset += skipped
        continue
      }
      if (this.#headerBytes === 0) {
        this.previous = begin
        begin = offset
      }
      if (this.#headerBytes > 0 || chunk.length - offset < HEADER_BYTES) {
        offset += this.#joinHeader(chunk, offset)
      } else {
        this.#beginBody(chunk.readInt32BE(offset + 1))
        offset += HEADER_BYTES
      }
    }
    return this.#isLost || this.#headerBytes > 0 || this.#bodyLeft > 0 ? undefined : begin
  }

  /** Walks over a header that the network has cut in two. @returns how many bytes of the chunk belong to it */
  #joinHeader(chunk: Buffer, offset: number): number {
    const taken = Math.min(HEADER_BYTES - this.#headerBytes, chunk.length - offset)
    chunk.copy(this.#header, this.#headerBytes, offset, offset + taken)
    this.#headerBytes += taken
    if (this.#headerBytes < HEADER_BYTES) return taken
    this.#headerBytes = 0
    this.#beginBody(this.#header.readInt32BE(1))
    return taken
  }

  #beginBody(length: number): void {
    this.#isLost = length < LENGTH_BYTES
    this.#bodyLeft = length - LENGTH_BYTES
  }
}

const LENGTH_BYTES = 4
/** Type byte and length. */
const HEADER_BYTES = 1 + LENGTH_BYTES
