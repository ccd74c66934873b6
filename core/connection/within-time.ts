/** Limits the time that opening a connection may take. */
import { PgIamError } from '../errors.js'

export interface TimeLimit {
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

/** Runs `work` with a signal that fires with the caller's, or when the time is up; then it rejects with `ERR_CONNECT_TIMEOUT`. */
export async function withinTime<T>(
  { what, timeoutMs, signal, after = afterRealTime }: TimeLimit,
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
