/** Asynchronous helpers: sleep, timeouts, abort signals, single flight, backoff, a mutex and its queue. */
import { PgIamError } from './errors.js'

/**
 * Resolves after `ms`. Rejects with `ERR_ABORTED` if `signal` aborts. Does not use `node:timers/promises`, so that tests of
 * applications that replace the global timers replace these, too.
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
  return new PgIamError('ERR_ABORTED', "aborted by the caller's signal", {
    cause: signal?.reason,
  })
}

/** Settles as `work` does, or rejects with the reason of `signal` as soon as it aborts. For work that cannot be cancelled. */
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

/** Settles as `work` does, or rejects with `timeoutError()` after `ms`. For work that cannot be cancelled. */
export function withTimeout<T>(
  work: Promise<T>,
  ms: number,
  timeoutError: () => Error,
): Promise<T> {
  // Promise.race and async functions are avoided: they add promises to each token, and each connection creates a token.
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
  /** The operation that timed out, for the message, such as `no connection to db:5432`. */
  what: string
  timeoutMs: number
  /** The caller's signal. */
  signal: AbortSignal
  /** Default: Node's timers. */
  after?: After
}

/** Calls `act` after `ms`. The returned function cancels the timer. */
export type After = (ms: number, act: () => void) => () => void

/** Runs `work` with a signal that aborts with the caller's signal or after `timeoutMs`. A timeout rejects with `ERR_CONNECT_TIMEOUT`. */
export async function withConnectTimeout<T>(
  { what, timeoutMs, signal, after = afterRealTime }: ConnectTimeLimit,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  // AbortSignal.any is avoided: its weak references cost time per connection, and more so with many concurrent connections.
  const controller = new AbortController()
  let isTimedOut = false
  const cancel = after(timeoutMs, () => {
    isTimedOut = true
    controller.abort()
  })
  const abort = (): void => controller.abort(signal.reason)
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  try {
    return await work(controller.signal)
  } catch (cause) {
    if (!isTimedOut) throw cause
    throw new PgIamError('ERR_CONNECT_TIMEOUT', `${what} within ${timeoutMs} ms`, {
      cause,
      retryable: true,
      hint: 'Check that the address is reachable from this host, or raise "connectTimeoutMs".',
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
 * Wraps `work` so that at most one call is in progress. Concurrent calls share its promise. Results and failures are not cached: the first
 * call after it has settled runs `work` again.
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
 * Creates a FIFO queue with constant time per operation at any length. A `Set` does not have that: V8 (Node 20) skips all deleted entries
 * to find the first one.
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
