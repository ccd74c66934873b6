/** Time that passes from event to event, for callbacks and for promises. */
import { aborted } from '../../core/async.js'
import { createEventQueue } from './event-queue.js'

export interface VirtualTime {
  /** Milliseconds since the beginning. */
  now(): number
  /**
   * Calls `act` after `ms`, rounded up to the next whole millisecond, and lets all promises go on that it settles before time
   * goes on. Returns a function that cancels it.
   */
  after(ms: number, act: () => void): () => void
  /** The same for what settles no promise: ten times as fast. */
  afterPlainly(ms: number, act: () => void): void
  /** Resolves after `ms`; rejects with `ERR_ABORTED` as soon as `signal` fires. */
  pause(ms: number, signal: AbortSignal | undefined): Promise<void>
  /** Begins `work`. What it rejects with ends the run. */
  follow(work: () => Promise<void>): void
  /** Lets time pass until nothing is left to happen or `until` is reached. Rejects with what an event throws, or what was begun rejects with. */
  run(until: number): Promise<void>
}

export function createVirtualTime(): VirtualTime {
  const events = createEventQueue()
  let time = 0
  let failure: { error: unknown } | undefined
  const after = (ms: number, act: () => void): (() => void) => {
    const event = { act, isCancelled: false }
    events.add(time + ms, event)
    return () => {
      event.isCancelled = true
    }
  }
  const goOn = async (): Promise<void> => {
    await microtasks()
    if (failure !== undefined) throw failure.error
  }
  return {
    now: () => time,
    after,
    afterPlainly: (ms, act) => events.add(time + ms, act),
    pause: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) {
          reject(aborted(signal))
          return
        }
        const abort = (): void => {
          cancel()
          reject(aborted(signal))
        }
        const cancel = after(ms, () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        })
        signal?.addEventListener('abort', abort, { once: true })
      }),
    follow: (work) => {
      work().catch((error: unknown) => {
        failure ??= { error }
      })
    },
    async run(until) {
      await goOn()
      for (;;) {
        const event = events.take(until)
        if (event === undefined) break
        time = events.takenAt
        if (typeof event === 'function') event()
        else {
          event.act()
          await goOn()
        }
      }
      time = until
    },
  }
}

/** Node runs all microtasks, and those that they make, before an immediate. */
function microtasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
