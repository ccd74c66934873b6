/** How often, and after which pauses, a transaction that met a conflict is run again. */
import {
  checkOptions,
  functionOf,
  integerWithin,
  invalidOption,
  numberWithin,
  type Check,
} from '../options/check.js'

export interface RetryOptions {
  /** How often the work is run at the most, the first time included, from 1 to 100. Default 10. */
  maxAttempts?: number
  /** The longest pause before the second attempt, in milliseconds; it doubles with each further one. From 0 to 60,000. Default 100. */
  baseDelayMs?: number
  /** The longest pause before any attempt, in milliseconds, from 0 to 600,000. Default 5,000. */
  maxDelayMs?: number
  /** Ends the pauses and the attempts when it fires; a statement that is running is not interrupted. */
  signal?: AbortSignal
  /** Called before each pause. What it throws ends the attempts with that error. */
  onRetry?: (retry: Retry) => void
}

/** An attempt that met a conflict. */
export interface Retry {
  /** The attempt that failed, from 1. */
  readonly attempt: number
  readonly error: unknown
  /** The pause before the next attempt, in milliseconds. */
  readonly delayMs: number
}

const signal: Check<AbortSignal> = (value, name) => {
  if (!(value instanceof AbortSignal)) throw invalidOption(name, 'an AbortSignal', value)
  return value
}

/** The checks of the retry options, which a transaction function has beside those of its ORM. */
export const RETRY_CHECKS: {
  maxAttempts: Check<number>
  baseDelayMs: Check<number>
  maxDelayMs: Check<number>
  signal: Check<AbortSignal>
  onRetry: Check<(retry: Retry) => void>
} = {
  maxAttempts: integerWithin(1, 100, 'attempts'),
  baseDelayMs: numberWithin(0, 60_000, 'milliseconds'),
  maxDelayMs: numberWithin(0, 600_000, 'milliseconds'),
  signal,
  onRetry: functionOf<(retry: Retry) => void>(),
}

/** Takes the retry options out of an options object that an ORM's own share. */
export function splitRetryOptions<T extends object>(
  options: T & RetryOptions,
): { retry: RetryOptions; own: Omit<T, keyof RetryOptions> } {
  const { maxAttempts, baseDelayMs, maxDelayMs, signal: abort, onRetry, ...own } = options
  const retry = checkOptions(
    { maxAttempts, baseDelayMs, maxDelayMs, signal: abort, onRetry },
    RETRY_CHECKS,
  )
  return { retry, own: own as Omit<T, keyof RetryOptions> }
}

/** The `retry` option of a login. */
export const retryOptions: Check<RetryOptions> = (value, name) =>
  checkOptions(value, RETRY_CHECKS, `${name}.`)
