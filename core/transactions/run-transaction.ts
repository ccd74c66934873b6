/** What the transaction functions of all clients have in common. */
import { isPgIamError, PgIamError } from '../errors.js'
import { internalsOf, type Login } from '../login.js'
import { invalidOption } from '../options/check.js'
import { isOccConflict, sqlStateOf } from './is-occ-conflict.js'
import { attempts, insideRetry, isInsideTransactionOf, type RetryOptions } from './retry.js'
import {
  attachLoss,
  isFatal,
  isLoss,
  LOSS_STATES,
  type TransactionConnection,
} from './transaction-connection.js'

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
   * Runs one transaction by the client's own means. It calls `work` once, with the client's transaction object, and `connected`
   * with the connection as soon as that is known: what becomes of a loss in BEGIN depends on it, too.
   */
  attempt: (
    work: (transaction: Transaction) => Promise<T>,
    connected: (connection: TransactionConnection | undefined) => void,
  ) => Promise<T>
}

/**
 * Runs a transaction, and runs it again as a whole when it met a conflict.
 *
 * Rejects with `ERR_TRANSACTION_NESTED` inside of another transaction function of the same client, with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost after COMMIT was written, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, and with
 * whatever else the transaction failed with, unchanged. A connection that is lost before COMMIT was written is reported by the error
 * of the server, with its SQLSTATE as `code`.
 */
export async function runTransaction<Transaction, T>(
  run: TransactionRun<Transaction, T>,
): Promise<T> {
  const { client, login, retry } = run
  if (typeof run.fn !== 'function') throw invalidOption('fn', 'a function', run.fn)
  if (run.isNested === true || isInsideTransactionOf(client)) throw nestedTransaction()
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
  let connection: TransactionConnection | undefined
  const work = async (transaction: Transaction): Promise<T> => {
    try {
      const result = await fn(transaction)
      isCommitting = true
      return result
    } catch (error) {
      failure = { error }
      throw error
    }
  }
  const connected = (known: TransactionConnection | undefined): void => {
    connection = known
  }
  let result: T
  try {
    result = await attempt(work, connected)
  } catch (error) {
    const commit = connection?.commit ?? (isCommitting ? 'written' : 'none')
    throw failureOf({ error, failure, commit, loss: connection?.loss })
  } finally {
    connection?.release()
  }
  // Knex resolves where its function rejects with undefined.
  if (failure !== undefined) throw (failure as { error: unknown }).error
  return result
}

interface Ending {
  /** What the client reports. */
  error: unknown
  /** What the caller's function failed with, where it did. */
  failure: { error: unknown } | undefined
  commit: TransactionConnection['commit']
  loss: Error | undefined
}

/** What was written decides: without COMMIT the transaction was rolled back, whatever the client makes of the loss. */
function failureOf({ error, failure, commit, loss }: Ending): unknown {
  const first = failure === undefined ? error : failure.error
  const isUnknown =
    commit === 'written' && failure === undefined
      ? !isAnswer(first, loss)
      : // An answered COMMIT leaves nothing unknown, unless the connection is lost behind it.
        (commit === 'written' || (commit === 'answered' && loss !== undefined)) &&
        !isOccConflict(first) &&
        isLoss(first, loss)
  if (isUnknown) return outcomeUnknown(attachLoss(loss, first))
  return attachLoss(loss, first)
}

/**
 * Tells whether the server said that COMMIT failed. Without a SQLSTATE the connection was lost. An error that ends the session is
 * no answer, whatever its SQLSTATE: 25P03 may have been sent before COMMIT was read.
 */
function isAnswer(error: unknown, loss: Error | undefined): boolean {
  if (isPgIamError(error)) return error.code !== 'ERR_PROTOCOL'
  if (isOccConflict(error)) return true
  const state = sqlStateOf(error)
  if (state === undefined || LOSS_STATES.test(state) || isFatal(error)) return false
  return state !== (loss as { code?: unknown } | undefined)?.code
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

/** The error for a transaction function that is called inside of another one, or with a transaction. */
export function nestedTransaction(): PgIamError {
  return new PgIamError(
    'ERR_TRANSACTION_NESTED',
    'a transaction function must not be called inside of another one of the same client',
    {
      hint: 'Use the transaction that the outer function was given: only the outermost transaction can be run again as a whole.',
    },
  )
}
