/** Simulated time that advances from event to event, for callbacks and promises. */
import { aborted } from '../../core/async.js'
import { createEventQueue } from './event-queue.js'

export interface VirtualTime {
  /** Milliseconds since the start. */
  now(): number
  /**
   * Calls `act` after `ms`, rounded up to the next millisecond. Promises that it settles continue before time advances. Returns a function
   * that cancels it.
   */
  after(ms: number, act: () => void): () => void
  /** Like `after`, for callbacks that settle no promise: ten times as fast. */
  afterPlainly(ms: number, act: () => void): void
  /** Resolves after `ms`. Rejects with `ERR_ABORTED` when `signal` fires. */
  pause(ms: number, signal: AbortSignal | undefined): Promise<void>
  /** Starts `work`. If it rejects, the run rejects. */
  follow(work: () => Promise<void>): void
  /** Advances time until no events are left or `until` is reached. Rejects with the error of an event or of started work. */
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

/** Node runs all microtasks, including those that they schedule, before an immediate. */
function microtasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
