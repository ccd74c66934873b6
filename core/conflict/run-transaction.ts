/** What the transaction functions of all clients have in common. */
import { lossOf } from '../connection/stream-factory.js'
import { PgIamError, isPgIamError } from '../errors.js'
import { internalsOf, type Login } from '../login.js'
import { invalidOption } from '../options/check.js'
import { isOccConflict, sqlStateOf } from './is-occ-conflict.js'
import type { RetryOptions } from './retry-options.js'
import { explainedBy } from './explain-loss.js'
import { attempts } from './retry-on-conflict.js'
import { insideRetry, isInsideTransactionOf } from './retry-scope.js'

export interface TransactionRun<Transaction, T> {
  /** The client's instance: the pool, the DataSource, the Knex function. Its transactions must not be nested. */
  client: object
  /** Whether the caller named a transaction to run inside of. Default `false`. */
  isNested?: boolean
  /** Whose counters and defaults to use, where the client belongs to a login. */
  login: Login | undefined
  retry: RetryOptions
  /** The caller's function. */
  fn: (transaction: Transaction) => PromiseLike<T> | T
  /**
   * Runs one transaction by the client's own means, calling `work` once, with the client's transaction object, and with the
   * `pg.Client` that it runs on where there is one.
   */
  attempt: (work: (transaction: Transaction, connection?: unknown) => Promise<T>) => Promise<T>
}

/**
 * Runs a transaction, and runs it again as a whole when it met a conflict.
 *
 * Rejects with `ERR_TRANSACTION_NESTED` inside of another transaction function of the same client, with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost during COMMIT, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, and with whatever
 * else the transaction failed with, unchanged.
 */
export async function runTransaction<Transaction, T>(
  run: TransactionRun<Transaction, T>,
): Promise<T> {
  const { client, login, retry } = run
  if (typeof run.fn !== 'function') throw invalidOption('fn', 'a function', run.fn)
  if (run.isNested === true || isInsideTransactionOf(client)) throw nested()
  const retried = login === undefined ? undefined : internalsOf(login)?.conflictRetried
  return insideRetry(
    () =>
      attempts(
        () => runOnce(run),
        { ...login?.retry, ...retry },
        retried === undefined ? {} : { retried },
      ),
    client,
  )
}

/**
 * The client reports what went wrong last, such as a ROLLBACK on a connection that is gone. What the caller's function failed
 * with is what went wrong first, and what the caller wants to see.
 */
async function runOnce<Transaction, T>({
  fn,
  attempt,
}: TransactionRun<Transaction, T>): Promise<T> {
  let failure: { error: unknown } | undefined
  let isCommitting = false
  let connection: unknown
  try {
    return await attempt(async (transaction, lent) => {
      connection = lent
      try {
        const result = await fn(transaction)
        isCommitting = true
        return result
      } catch (error) {
        failure = { error }
        throw error
      }
    })
  } catch (error) {
    const loss = lossOf(connection)
    if (failure !== undefined) throw explainedBy(loss, failure.error)
    if (isCommitting && !isAnswer(error)) throw outcomeUnknown(explainedBy(loss, error))
    throw explainedBy(loss, error)
  }
}

/**
 * Tells whether the server said that COMMIT failed. Without a SQLSTATE the connection was lost; class 08 says the same,
 * 57 and 58 that the server went down meanwhile, and XX000 is Aurora DSQL's "server unavailable", after which AWS calls the
 * outcome uncertain.
 */
function isAnswer(error: unknown): boolean {
  if (isOccConflict(error) || isPgIamError(error)) return true
  const state = sqlStateOf(error)
  return state !== undefined && !/^(08|57|58|XX)/.test(state)
}

function outcomeUnknown(cause: unknown): PgIamError {
  return new PgIamError(
    'ERR_OUTCOME_UNKNOWN',
    'the connection was lost during COMMIT, which may have taken effect or not',
    {
      cause,
      hint: 'Look in the database whether it did before you run the transaction again.',
    },
  )
}

function nested(): PgIamError {
  return new PgIamError(
    'ERR_TRANSACTION_NESTED',
    'a transaction function must not be called inside of another one of the same client',
    {
      hint: 'Use the transaction that the outer function was given: only the outermost transaction can be run again as a whole.',
    },
  )
}
