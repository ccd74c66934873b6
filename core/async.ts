/** Waiting: sleeps, time limits, aborts, calls that are shared, and a mutex. */
import { PgIamError } from './errors.js'

/**
 * Resolves after `ms`. Rejects with `ERR_ABORTED` as soon as `signal` fires. Not by `node:timers/promises`, so that applications
 * whose tests fake the global timers fake these, too.
 */
export function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(aborted(signal))
      return
    }
    const abort = (): void => {
      clearTimeout(timer)
      reject(aborted(signal))
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', abort, { once: true })
  })
}

export function aborted(signal: AbortSignal | undefined): PgIamError {
  return new PgIamError('ERR_ABORTED', 'the signal of the caller has fired', {
    cause: signal?.reason,
  })
}

/** Settles as `work` does, or rejects with the reason of `signal` as soon as that fires. For work that cannot be stopped. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    work.then(
      (value) => {
        signal.removeEventListener('abort', abort)
        resolve(value)
      },
      (error: unknown) => {
        signal.removeEventListener('abort', abort)
        reject(error as Error)
      },
    )
  })
}

/** Settles as `work` does, or rejects with `timeoutError()` after `ms`. For work that cannot be stopped. */
export function withTimeout<T>(
  work: Promise<T>,
  ms: number,
  timeoutError: () => Error,
): Promise<T> {
  // Not by Promise.race and async functions: a token is made for each connection, and each costs promises of its own.
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(timeoutError()), ms)
    work.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        reject(error as Error)
      },
    )
  })
}

export interface ConnectTimeLimit {
  /** What is being done, for the message. */
  what: string
  timeoutMs: number
  /** The caller's own signal. */
  signal: AbortSignal
  /** Default: Node's timers. */
  after?: After
}

/** Calls `act` after `ms`, unless the function that it returns is called before. */
export type After = (ms: number, act: () => void) => () => void

/** Runs `work` with a signal that fires with the caller's, and after `timeoutMs`; then it rejects with `ERR_CONNECT_TIMEOUT`. */
export async function withConnectTimeout<T>(
  { what, timeoutMs, signal, after = afterRealTime }: ConnectTimeLimit,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  // Not by AbortSignal.any: its weak references cost each connection, and the more the more of them are under way.
  const either = new AbortController()
  let isTimeUp = false
  const cancel = after(timeoutMs, () => {
    isTimeUp = true
    either.abort()
  })
  const abort = (): void => either.abort(signal.reason)
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  try {
    return await work(either.signal)
  } catch (cause) {
    if (!isTimeUp) throw cause
    throw new PgIamError('ERR_CONNECT_TIMEOUT', `${what} within ${timeoutMs} ms`, {
      cause,
      retryable: true,
      hint: 'Check that the address can be reached from here, or raise "connectTimeoutMs".',
    })
  } finally {
    cancel()
    signal.removeEventListener('abort', abort)
  }
}

function afterRealTime(ms: number, act: () => void): () => void {
  const timer = setTimeout(act, ms)
  return () => clearTimeout(timer)
}

/**
 * Wraps `work` so that at most one call of it is under way. Calls that come meanwhile get the same promise. Neither a result nor a
 * failure is kept: the first call after it has settled runs `work` again.
 */
export function singleFlight<T>(work: () => Promise<T>): () => Promise<T> {
  let flight: Promise<T> | undefined
  return () => {
    flight ??= work().finally(() => {
      flight = undefined
    })
    return flight
  }
}

/**
 * A random delay between 0 and a limit that doubles with each attempt ("full jitter").
 * See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 *
 * @param attempt the attempt that failed, from 1
 * @returns milliseconds
 */
export function fullJitter(
  attempt: number,
  baseMs: number,
  maxMs: number,
  random: () => number,
): number {
  return random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1))
}

interface Mutex {
  /**
   * Resolves with the function that releases the mutex once the caller has it. Callers get it in the order in which they asked.
   * Rejects with `ERR_ABORTED` when `signal` fires before.
   */
  acquire(signal: AbortSignal): Promise<() => void>
}

export function createMutex(): Mutex {
  const waiting = createQueue<() => void>()
  let isLocked = false
  const createRelease = (): (() => void) => {
    let isReleased = false
    return () => {
      if (isReleased) return
      isReleased = true
      const next = waiting.dequeue()
      if (next === undefined) isLocked = false
      else next()
    }
  }
  return {
    acquire: (signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(aborted(signal))
          return
        }
        if (!isLocked) {
          isLocked = true
          resolve(createRelease())
          return
        }
        const abort = (): void => {
          remove()
          reject(aborted(signal))
        }
        const remove = waiting.enqueue(() => {
          signal.removeEventListener('abort', abort)
          resolve(createRelease())
        })
        signal.addEventListener('abort', abort, { once: true })
      }),
  }
}

interface Queue<T> {
  /** Returns the function that removes the item, if it is still in the queue. */
  enqueue(item: T): () => void
  dequeue(): T | undefined
}

/**
 * Creates a queue in which each step takes the same time, however long it is. A `Set` does not: to find its first item V8 (Node 20)
 * passes over those that were deleted before it.
 */
export function createQueue<T>(): Queue<T> {
  let entries: { item: T | undefined }[] = []
  let head = 0
  /** How many entries have an item. */
  let length = 0
  /** Takes the item out, and drops the entries that no item is behind. */
  const take = (entry: { item: T | undefined }): T | undefined => {
    const { item } = entry
    if (item === undefined) return undefined
    entry.item = undefined
    length--
    if (length === 0 || (entries.length > 1_024 && length * 2 < entries.length)) {
      entries = length === 0 ? [] : entries.filter((one) => one.item !== undefined)
      head = 0
    }
    return item
  }
  return {
    enqueue(item) {
      const entry: { item: T | undefined } = { item }
      entries.push(entry)
      length++
      return () => void take(entry)
    },
    dequeue() {
      while (head < entries.length) {
        const item = take(entries[head++]!)
        if (item !== undefined) return item
      }
      return undefined
    },
  }
}
