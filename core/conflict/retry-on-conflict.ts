/** Runs work again when it met a conflict. */
import { PgIamError, isPgIamError } from '../errors.js'
import { checkOptions, invalidOption } from '../options/check.js'
import { fullJitter } from '../full-jitter.js'
import { isOccConflict } from './is-occ-conflict.js'
import { aborted, pause } from '../pause.js'
import { RETRY_CHECKS, type RetryOptions } from './retry-options.js'
import { insideRetry, isInsideRetry } from './retry-scope.js'

/**
 * Runs `fn`, which does one whole transaction, and runs it again when it rejects with a conflict, after a pause with full
 * jitter. `fn` must be safe to run several times: what it did in the database is undone, what it did elsewhere is not.
 *
 * Called inside of another such call it runs `fn` once: only the outermost transaction can be run again as a whole.
 *
 * Exported from `'pg-iam'`.
 *
 * Rejects with whatever else `fn` rejects with, unchanged; with `ERR_OCC_EXHAUSTED` when the last attempt met a conflict too,
 * which is its `cause`; and with `ERR_ABORTED`.
 */
export async function retryOnConflict<T>(
  fn: (attempt: number) => Promise<T>,
  options: RetryOptions = {},
): Promise<T> {
  if (typeof fn !== 'function') throw invalidOption('fn', 'a function', fn)
  const checked = checkOptions(options, RETRY_CHECKS)
  return isInsideRetry() ? fn(1) : insideRetry(() => attempts(fn, checked))
}

/** What a retry needs of its surroundings, as parameters for tests. */
export interface RetrySurroundings {
  random: () => number
  pause: (ms: number, signal: AbortSignal | undefined) => Promise<void>
  /** Called before each attempt but the first. */
  retried: () => void
}

export async function attempts<T>(
  fn: (attempt: number) => Promise<T>,
  { maxAttempts = 10, baseDelayMs = 100, maxDelayMs = 5_000, signal, onRetry }: RetryOptions,
  surroundings: Partial<RetrySurroundings> = {},
): Promise<T> {
  const { random = Math.random, pause: wait = pause, retried } = surroundings
  for (let attempt = 1; ; attempt++) {
    if (signal?.aborted === true) throw aborted(signal)
    try {
      return await fn(attempt)
    } catch (error) {
      // What an inner call has given up on is not begun anew by the outer one.
      if (!isOccConflict(error) || isPgIamError(error, 'ERR_OCC_EXHAUSTED')) throw error
      if (attempt >= maxAttempts) throw exhausted(attempt, error)
      const delayMs = fullJitter(attempt, baseDelayMs, maxDelayMs, random)
      onRetry?.({ attempt, error, delayMs })
      await wait(delayMs, signal)
      retried?.()
    }
  }
}

function exhausted(attempt: number, cause: unknown): PgIamError {
  const times = attempt === 1 ? 'its only attempt' : `each of ${attempt} attempts`
  return new PgIamError('ERR_OCC_EXHAUSTED', `the transaction met a conflict in ${times}`, {
    cause,
    retryable: true,
    hint: 'Look for a row that many transactions change at once, or raise "maxAttempts".',
  })
}
