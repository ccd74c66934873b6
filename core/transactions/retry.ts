/** Runs work again when it met a conflict. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { aborted, fullJitter, sleep } from '../async.js'
import { isPgIamError, PgIamError } from '../errors.js'
import {
  type Check,
  checkOptions,
  functionOf,
  integerWithin,
  invalidOption,
  numberWithin,
} from '../options/check.js'
import { isOccConflict } from './is-occ-conflict.js'

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

/** What a retry needs of its deps, as parameters for tests. */
interface RetryDeps {
  random: () => number
  sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>
  /** Called before each attempt but the first. */
  retried: () => void
}

export async function attempts<T>(
  fn: (attempt: number) => Promise<T>,
  { maxAttempts = 10, baseDelayMs = 100, maxDelayMs = 5_000, signal, onRetry }: RetryOptions,
  deps: Partial<RetryDeps> = {},
): Promise<T> {
  const { random = Math.random, sleep: wait = sleep, retried } = deps
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

// How often, and after which pauses, a transaction that met a conflict is run again.

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

// Knows what runs inside of a call that retries, so that nothing is retried twice over.

interface RetryScope {
  /** The client whose transaction is retried around the current code, where it is one. */
  readonly client: object | undefined
  readonly outer: RetryScope | undefined
  /** Code that was started inside, such as a timer, may outlive the call. */
  isOver: boolean
}

/** Runs `work` as the inside of a retry, of the transaction of `client` where there is one. */
export async function insideRetry<T>(work: () => Promise<T>, client?: object): Promise<T> {
  const scope: RetryScope = { client, outer: storage().getStore(), isOver: false }
  try {
    return await storage().run(scope, work)
  } finally {
    scope.isOver = true
  }
}

export function isInsideRetry(): boolean {
  return someScope(() => true)
}

/** Tells whether the current code runs inside of a transaction function's callback for `client`. */
export function isInsideTransactionOf(client: object): boolean {
  return someScope((scope) => scope.client === client)
}

function someScope(matches: (scope: RetryScope) => boolean): boolean {
  for (let scope = storage().getStore(); scope !== undefined; scope = scope.outer)
    if (!scope.isOver && matches(scope)) return true
  return false
}

const SCOPE: unique symbol = Symbol.for('pg-iam.retry-scope') as never

/** One storage for the ESM and the CommonJS copy of the package. */
function storage(): AsyncLocalStorage<RetryScope> {
  const holder = globalThis as { [SCOPE]?: AsyncLocalStorage<RetryScope> }
  return (holder[SCOPE] ??= new AsyncLocalStorage<RetryScope>())
}
