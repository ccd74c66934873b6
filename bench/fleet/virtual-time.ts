/** Time that passes from event to event, for callbacks and for promises. */
import { aborted } from '../../core/pause.js'
import { createEventQueue } from './event-queue.js'

export interface VirtualTime {
  /** Milliseconds since the beginning. */
  now(): number
  /** Calls `act` after `ms`, and lets all promises go on that it settles, before time goes on. Returns a function that cancels it. */
  after(ms: number, act: () => void): () => void
  /** The same for what settles no promise, without the wait for them: three times as fast. */
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
    const event = events.add(time + ms, act, true)
    return () => {
      event.isCancelled = true
    }
  }
  return {
    now: () => time,
    after,
    afterPlainly: (ms, act) => void events.add(time + ms, act, false),
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
      for (;;) {
        const next = events.take(until)
        if (next === undefined) break
        time = next.at
        const { act, resumes } = next.event
        act()
        if (resumes) await microtasks()
        if (failure !== undefined) throw failure.error
      }
      time = until
    },
  }
}

/** Node runs all microtasks, and those that they make, before an immediate. */
function microtasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
