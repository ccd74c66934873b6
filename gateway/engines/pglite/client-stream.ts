/** The stream that a session is to the gateway's listener. */
import { Duplex } from 'node:stream'
import type { SessionInput } from './session-input.js'

export interface ClientStream {
  readonly duplex: Duplex
  /**
   * Sends results. `taken` is called with the bytes that the client has taken, or will never take: at once, or when it reads on.
   *
   * @param bytes how many to report, which differs from what is sent where messages were changed
   */
  send(pieces: readonly Buffer[], bytes: number): void
  /** Counts all that was sent as taken. It is kept here until the client reads on. */
  settle(): void
  /** Resolves when the client has read what was sent, but for a little, or is gone. */
  drained(): Promise<void>
  /** Sends, and ends. */
  end(last?: Buffer): void
  /** Whether the client reads what it is sent. */
  readonly isFlowing: boolean
  /** Whether nothing more goes to the client. */
  readonly isOver: boolean
}

export interface ClientStreamEvents {
  /** There is room for so many more bytes. */
  onTaken(bytes: number): void
  /** The client has said all that it will. */
  onEnd(): void
  /** Nobody listens any more. */
  onAbandoned(): void
}

export function createClientStream(input: SessionInput, events: ClientStreamEvents): ClientStream {
  let isOver = false
  /** What has been sent and not been taken. */
  let owed = 0
  let flows = true
  let whenDrained: (() => void) | undefined
  const settle = (): void => {
    const bytes = owed
    owed = 0
    if (bytes > 0) events.onTaken(bytes)
  }
  const flow = (): void => {
    flows = true
    settle()
    whenDrained?.()
    whenDrained = undefined
  }
  const end = (last?: Buffer): void => {
    if (isOver) return
    isOver = true
    if (last !== undefined) duplex.push(last)
    duplex.push(null)
    flow()
  }
  const duplex = new Duplex({
    read: flow,
    write: (chunk: Buffer, _encoding, done) => input.push(chunk, done),
    final(done) {
      input.end()
      events.onEnd()
      done()
    },
    destroy(_error, done) {
      end()
      events.onAbandoned()
      done(null)
    },
  })
  return {
    duplex,
    send(pieces, bytes) {
      let sent = 0
      for (const piece of isOver ? [] : pieces) {
        flows = duplex.push(piece)
        sent += piece.length
      }
      // What is kept for the rest of its message must not count: the rest would never come.
      const waiting = flows ? 0 : Math.min(sent, bytes)
      owed += waiting
      if (bytes > waiting) events.onTaken(bytes - waiting)
    },
    settle,
    drained: () =>
      new Promise((resolve) => {
        if (flows) resolve()
        else whenDrained = resolve
      }),
    end,
    get isFlowing() {
      return flows
    },
    get isOver() {
      return isOver
    },
  }
}
