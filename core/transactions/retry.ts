/** Retries transactions after conflicts. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { aborted, fullJitter, sleep } from '../async.js'
import { isPgIamError, PgIamError } from '../errors.js'
import {
  type Check,
  checkOptions,
  functionOf,
  integerWithin,
  invalidOption,
  nearestName,
  numberWithin,
  unknownOption,
} from '../options/check.js'
import { isOccConflict } from './is-occ-conflict.js'

/**
 * Runs `fn`, which must do one whole transaction. If it rejects with a conflict, runs it again after a pause with full jitter. `fn` must be
 * safe to repeat: its changes in the database are rolled back, its other side effects are not.
 *
 * A call inside another such call runs `fn` once: only the outermost transaction can be retried as a whole.
 *
 * Exported from `'pg-iam'`.
 *
 * Rejects with the error of `fn`, unchanged; with `ERR_OCC_EXHAUSTED` if the last attempt fails with a conflict, which is its `cause`; and
 * with `ERR_ABORTED`.
 */
export async function retryOnConflict<T>(
  fn: (attempt: number) => Promise<T>,
  options: RetryOptions = {},
): Promise<T> {
  if (typeof fn !== 'function') throw invalidOption('fn', 'a function', fn)
  const checked = checkOptions(options, RETRY_CHECKS)
  return isInsideRetry() ? fn(1) : insideRetry(() => attempts(fn, checked))
}

/** The dependencies of a retry, as parameters for tests. */
interface RetryDeps {
  random: () => number
  sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>
  /** Called before each attempt except the first. */
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
      // The outer call must not retry when an inner call has exhausted its attempts.
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
  return new PgIamError('ERR_OCC_EXHAUSTED', `the transaction failed with a conflict in ${times}`, {
    cause,
    retryable: true,
    hint: 'Look for rows that many transactions update concurrently, or raise "maxAttempts".',
  })
}

// Options for the number of attempts and the pauses between them.

export interface RetryOptions {
  /** The maximum number of attempts, including the first, from 1 to 100. Default 10. */
  maxAttempts?: number
  /** The maximum pause before the second attempt, in milliseconds. It doubles for each further one. From 0 to 60,000. Default 100. */
  baseDelayMs?: number
  /** The maximum pause before any attempt, in milliseconds, from 0 to 600,000. Default 5,000. */
  maxDelayMs?: number
  /** Aborts pauses and further attempts. A running statement is not interrupted. */
  signal?: AbortSignal
  /** Called before each pause. If it throws, the attempts end with that error. */
  onRetry?: (retry: Retry) => void
}

/** An attempt that failed with a conflict. */
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

/** The checks of the retry options, which transaction functions accept in addition to those of the ORM. */
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

/**
 * Splits the retry options from an options object that also has those of an ORM. Throws `ERR_OPTION_INVALID` for a misspelt retry option,
 * which some ORMs would ignore.
 */
export function splitRetryOptions<T extends object>(
  options: T & RetryOptions,
): { retry: RetryOptions; own: Omit<T, keyof RetryOptions> } {
  const { maxAttempts, baseDelayMs, maxDelayMs, signal: abort, onRetry, ...own } = options
  const retry = checkOptions(
    { maxAttempts, baseDelayMs, maxDelayMs, signal: abort, onRetry },
    RETRY_CHECKS,
  )
  const names = Object.keys(RETRY_CHECKS)
  for (const name of Object.keys(own))
    if (nearestName(name, names) !== undefined) throw unknownOption(name, names)
  return { retry, own: own as Omit<T, keyof RetryOptions> }
}

/** The `retry` option of a login. */
export const retryOptions: Check<RetryOptions> = (value, name) =>
  checkOptions(value, RETRY_CHECKS, `${name}.`)

// Tracks retry scopes, so that nested calls do not retry.

interface RetryScope {
  /** The client whose transaction is being retried, if any. */
  readonly client: object | undefined
  readonly outer: RetryScope | undefined
  /** Set when the call ends, since code started inside it, such as a timer, may outlive it. */
  isOver: boolean
}

/** Runs `work` inside a retry scope, for the transaction of `client` if given. */
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

/** Whether the current code runs inside the callback of a transaction function for `client`. */
export function isInsideTransactionOf(client: object): boolean {
  return someScope((scope) => scope.client === client)
}

function someScope(matches: (scope: RetryScope) => boolean): boolean {
  for (let scope = storage().getStore(); scope !== undefined; scope = scope.outer)
    if (!scope.isOver && matches(scope)) return true
  return false
}

const SCOPE: unique symbol = Symbol.for('pg-iam.retry-scope') as never

/** Shared by the ESM and the CommonJS copy of the package. */
function storage(): AsyncLocalStorage<RetryScope> {
  const holder = globalThis as { [SCOPE]?: AsyncLocalStorage<RetryScope> }
  return (holder[SCOPE] ??= new AsyncLocalStorage<RetryScope>())
}
