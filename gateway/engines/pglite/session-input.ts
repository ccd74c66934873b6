/** Keeps what a client has sent until the engine can take it. */
import { FrontendType } from '../../wire/message-types.js'

export interface SessionInput {
  /** Takes whole messages. Calls `taken` when there is room for more. */
  push(messages: Buffer, taken: () => void): void
  /** Nothing more will come. */
  end(): void
  /** Forgets everything, and whatever still comes. */
  abandon(): void
  /**
   * Resolves with `true` when there is something to run, and with `false` when nothing more will come.
   *
   * @param what `batch` waits until a Query, a Sync or a Flush makes an answer due, `any` only for some message
   */
  wait(what: 'batch' | 'any'): Promise<boolean>
  /** Takes the messages up to the end of the first batch, or of all. */
  take(what: 'batch' | 'all'): Buffer[]
  /** Drops the first batch, and what of it has yet to come. Calls `dropped` after that. */
  drop(dropped: () => void): void
  /** Whether an answer is due. */
  readonly isDue: boolean
}

export function createSessionInput(): SessionInput {
  let messages: Buffer[] = []
  let bytes = 0
  /** How many of the messages end a batch, or ask for an answer in the middle of one. */
  let dues = 0
  let ended = false
  let abandoned = false
  let dropped: (() => void) | undefined
  let blocked: (() => void) | undefined
  let waiting: { what: 'batch' | 'any'; resolve(more: boolean): void } | undefined

  const isReady = (what: 'batch' | 'any'): boolean =>
    what === 'any' ? messages.length > 0 : dues > 0 || bytes >= LARGE_BATCH_BYTES
  /** What is left of a batch when its client is gone will not get its Sync: it does not run. */
  const check = (): void => {
    if (waiting === undefined || !(isReady(waiting.what) || ended)) return
    const { resolve, what } = waiting
    waiting = undefined
    resolve(isReady(what))
  }
  const makeRoom = (): void => {
    if (bytes >= LARGE_BATCH_BYTES || blocked === undefined) return
    const taken = blocked
    blocked = undefined
    taken()
  }
  const removeFirst = (count: number): Buffer[] => {
    const removed = messages.splice(0, count)
    for (const message of removed) {
      bytes -= message.length
      if (isDue(message)) dues--
    }
    makeRoom()
    return removed
  }
  const finishDropping = (): void => {
    const whenDropped = dropped
    dropped = undefined
    whenDropped?.()
  }
  const add = (message: Buffer): void => {
    // The end says the same.
    if (message[0] === FrontendType.terminate) return
    if (dropped !== undefined) {
      if (endsBatch(message)) finishDropping()
      return
    }
    messages.push(message)
    bytes += message.length
    if (isDue(message)) dues++
  }

  return {
    push(chunk, taken) {
      if (abandoned) return taken()
      for (let offset = 0; offset < chunk.length;) {
        const end = offset + 1 + chunk.readInt32BE(offset + 1)
        add(chunk.subarray(offset, end))
        offset = end
      }
      blocked = taken
      check()
      makeRoom()
    },
    end() {
      ended = true
      check()
    },
    abandon() {
      abandoned = true
      ended = true
      removeFirst(messages.length)
      check()
    },
    wait: (what) =>
      new Promise((resolve) => {
        waiting = { what, resolve }
        check()
      }),
    take(what) {
      if (what === 'all') return removeFirst(messages.length)
      const end = messages.findIndex(isDue)
      return removeFirst(end === -1 ? messages.length : end + 1)
    },
    drop(whenDropped) {
      const end = messages.findIndex(endsBatch)
      dropped = whenDropped
      removeFirst(end === -1 ? messages.length : end + 1)
      if (end !== -1) finishDropping()
    },
    get isDue() {
      return isReady('batch')
    },
  }
}

/** A batch larger than this begins before it is whole, and nothing more is read from its client meanwhile. */
const LARGE_BATCH_BYTES = 262_144

function endsBatch(message: Buffer): boolean {
  const type = message[0]
  return (
    type === FrontendType.sync || type === FrontendType.query || type === FrontendType.functionCall
  )
}

function isDue(message: Buffer): boolean {
  return endsBatch(message) || message[0] === FrontendType.flush
}
