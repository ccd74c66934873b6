/** Passes results on to the engine in pieces of a good size, no faster than they are taken. */
import { Control, OUTPUT_WINDOW_BYTES, type WorkerAnswer } from './worker-messages.js'

export interface Output {
  write(bytes: Buffer): void
  /** Sends what is left. Both wait while too much is on its way. */
  flush(): void
}

export function createOutput(
  control: Int32Array,
  post: (answer: WorkerAnswer, transfer?: ArrayBuffer[]) => void,
): Output {
  let pieces: Buffer[] = []
  let length = 0

  const flush = (): void => {
    if (length === 0) return
    const bytes = new Uint8Array(length)
    let offset = 0
    for (const piece of pieces) {
      bytes.set(piece, offset)
      offset += piece.length
    }
    pieces = []
    length = 0
    waitForRoom()
    Atomics.add(control, Control.outstanding, bytes.length)
    post({ type: 'output', bytes }, [bytes.buffer])
  }
  const waitForRoom = (): void => {
    for (let told = false; ; told = true) {
      const outstanding = Atomics.load(control, Control.outstanding)
      if (outstanding < OUTPUT_WINDOW_BYTES) return
      if (!told) post({ type: 'waiting', for: 'output' })
      Atomics.wait(control, Control.outstanding, outstanding)
    }
  }

  return {
    write(bytes) {
      pieces.push(bytes)
      length += bytes.length
      // A write of less is one that PostgreSQL wants to be seen at once, such as a notice.
      if (length >= PIECE_BYTES || bytes.length < POSTGRES_BUFFER_BYTES) flush()
    },
    flush,
  }
}

/** PostgreSQL writes whenever its buffer is full; posting each of those costs more than it holds. */
const POSTGRES_BUFFER_BYTES = 8_192
const PIECE_BYTES = 65_536
