/** Waits, unless told otherwise. */
import { PgIamError } from './errors.js'

/** Resolves after `ms`; rejects with `ERR_ABORTED` as soon as `signal` fires. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
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
