/** The common part of all clients' transaction functions. */
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
  /** The client's instance, such as the pool, the DataSource or the Knex function. Its transactions must not be nested. */
  client: object
  /** Whether the caller passed a transaction to run inside. Default `false`. */
  isNested?: boolean
  /** The login whose counters and defaults apply, if the client belongs to one. */
  login: Login | undefined
  retry: RetryOptions
  /** The caller's function. */
  fn: (transaction: Transaction) => PromiseLike<T> | T
  /**
   * Runs one transaction with the client's own function. It must call `work` once, with the client's transaction object, and `connected`
   * with the connection as soon as that is known, since the handling of a lost connection depends on it, even in BEGIN.
   */
  attempt: (
    work: (transaction: Transaction) => Promise<T>,
    connected: (connection: TransactionConnection | undefined) => void,
  ) => Promise<T>
}

/**
 * Runs a transaction, and retries it as a whole after a conflict.
 *
 * Rejects with `ERR_TRANSACTION_NESTED` inside another transaction function of the same client, with `ERR_OUTCOME_UNKNOWN` if the
 * connection was lost after COMMIT was written, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, and with any other error of the transaction,
 * unchanged. A connection lost before COMMIT was written is reported by the server's error, with its SQLSTATE as `code`.
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
 * The client reports the last error, such as that of a ROLLBACK on a lost connection. The error of the caller's function came first, and is
 * the one to report.
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
  // Knex resolves if its function rejects with undefined.
  if (failure !== undefined) throw (failure as { error: unknown }).error
  return result
}

interface Ending {
  /** The error that the client reports. */
  error: unknown
  /** The error of the caller's function, if it failed. */
  failure: { error: unknown } | undefined
  commit: TransactionConnection['commit']
  loss: Error | undefined
}

/** Decides by what was written: without COMMIT the transaction was rolled back, whatever the client reports. */
function failureOf({ error, failure, commit, loss }: Ending): unknown {
  const first = failure === undefined ? error : failure.error
  const isUnknown =
    commit === 'written' && failure === undefined
      ? !isCommitFailure(first, loss)
      : // After an answered COMMIT the outcome is known, unless the connection was lost after it.
        (commit === 'written' || (commit === 'answered' && loss !== undefined)) &&
        !isOccConflict(first) &&
        isLoss(first, loss)
  if (isUnknown) return outcomeUnknown(attachLoss(loss, first))
  return attachLoss(loss, first)
}

/**
 * Whether the server reported that COMMIT failed. Without a SQLSTATE the connection was lost. An error that ends the session is no reply,
 * whatever its SQLSTATE: 25P03 may have been sent before COMMIT was read.
 */
function isCommitFailure(error: unknown, loss: Error | undefined): boolean {
  if (isPgIamError(error)) return error.code !== 'ERR_PROTOCOL'
  if (isOccConflict(error)) return true
  const state = sqlStateOf(error)
  if (state === undefined || LOSS_STATES.test(state) || isFatal(error)) return false
  return state !== (loss as { code?: unknown } | undefined)?.code
}

function outcomeUnknown(cause: unknown): PgIamError {
  return new PgIamError(
    'ERR_OUTCOME_UNKNOWN',
    'the connection was lost during COMMIT, so the outcome of the transaction is unknown',
    {
      cause,
      hint: 'Check in the database whether it was committed before you run it again.',
    },
  )
}

/** The error for a transaction function that is called inside another one, or with a transaction. */
export function nestedTransaction(): PgIamError {
  return new PgIamError(
    'ERR_TRANSACTION_NESTED',
    'a transaction function must not be called inside another one of the same client',
    {
      hint: 'Use the transaction of the outer function: only the outermost transaction can be retried as a whole.',
    },
  )
}
