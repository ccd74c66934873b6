/** Inserts more rows than one transaction may change. */
import { isPgIamError, PgIamError } from '../errors.js'
import { checkOptions, integerWithin, invalidOption } from '../options/check.js'
import { isOccConflict, sqlStateOf } from './is-occ-conflict.js'
import { attempts, insideRetry, isInsideRetry, RETRY_CHECKS, type RetryOptions } from './retry.js'
import { nestedTransaction } from './run-transaction.js'
import { isLoss } from './transaction-connection.js'

/** The size of the chunks, and how often a chunk is tried again after a conflict. */
export interface InsertInChunksOptions extends RetryOptions {
  /**
   * The maximum number of rows in a chunk, from 1 to 3,000, which is what Aurora DSQL lets a transaction change. Default 3,000. Lower it for
   * rows of more than 21 columns, since a statement has at most 65,535 parameters, and for large rows, since a transaction has at most 10 MiB.
   */
  maxRows?: number
}

/**
 * Calls `insert` for each chunk of `rows`, one after the other. `insert` must do one whole transaction: one statement, or one call of a
 * transaction function. It must not use a transaction that was begun before: then the rows are inserted only if that one commits. A chunk
 * that fails with a conflict is inserted again, after a pause with full jitter.
 *
 * The chunks are not one transaction: others see the first ones before the last.
 *
 * Exported from `'pg-iam'`.
 *
 * Rejects with `ERR_CHUNK_FAILED` if a chunk fails. Its `cause` is the error, and its `insertedRows` the number of rows of the chunks before.
 * Rejects with `ERR_TRANSACTION_NESTED` inside a transaction function, in which the chunks would be one transaction.
 *
 * @param insert gets the chunk, and the index of its first row
 * @returns what `insert` resolved with, for each chunk
 */
export async function insertInChunks<Row, Result>(
  rows: readonly Row[],
  insert: (chunk: Row[], index: number) => PromiseLike<Result>,
  options: InsertInChunksOptions = {},
): Promise<Result[]> {
  if (!Array.isArray(rows)) throw invalidOption('rows', 'a list of rows', rows)
  if (typeof insert !== 'function') throw invalidOption('insert', 'a function', insert)
  const { maxRows = MAX_ROWS, ...retry } = checkOptions(options, CHECKS)
  if (isInsideRetry()) throw nestedTransaction()
  const results: Result[] = []
  for (let index = 0; index < rows.length; index += maxRows) {
    const end = Math.min(index + maxRows, rows.length)
    // A list of its own for each attempt: `insert` may change it.
    const insertChunk = async (): Promise<Result> => insert(rows.slice(index, end), index)
    try {
      results.push(await insideRetry(() => attempts(insertChunk, retry)))
    } catch (error) {
      throw chunkFailed(error, index, end)
    }
  }
  return results
}

/** https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html */
const MAX_ROWS = 3_000

const CHECKS = { ...RETRY_CHECKS, maxRows: integerWithin(1, MAX_ROWS, 'rows') } as const

function chunkFailed(cause: unknown, index: number, end: number): PgIamError {
  // No chunk has more rows than a transaction may change.
  if (index > 0 && sqlStateOf(cause) === ROW_LIMIT) return oneTransaction(cause)
  const rows = `rows ${index} to ${end - 1}`
  const isUnknown = isPgIamError(cause)
    ? cause.code === 'ERR_OUTCOME_UNKNOWN'
    : isLoss(cause, undefined) && !isOccConflict(cause)
  const others =
    index === 0 ? 'no other ones are inserted' : `the ${index} rows before are inserted`
  const [message, hint] = isUnknown
    ? [
        `the connection was lost while ${rows} were inserted, so it is unknown whether they are; ${others}`,
        `Look in the database for row ${index}. Then go on with rows.slice(${end}) if it is there, or else with rows.slice(${index}).`,
      ]
    : [
        `${rows} could not be inserted; ${others}`,
        `Remove the cause, and go on with rows.slice(${index}). If "insert" uses a transaction that was begun before, no row is inserted.`,
      ]
  const retryable = isOccConflict(cause) || (isPgIamError(cause) && cause.retryable)
  return new PgIamError('ERR_CHUNK_FAILED', message, {
    ...{ cause, hint, insertedRows: index },
    // The same call would insert the rows of the first chunks again.
    retryable: retryable && index === 0,
  })
}

/** SQLSTATE 54000, program_limit_exceeded: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html */
const ROW_LIMIT = '54000'

/** The usual way to get there: `insert` uses the transaction of an ORM, which is not known here. */
function oneTransaction(cause: unknown): PgIamError {
  return new PgIamError(
    'ERR_CHUNK_FAILED',
    'the chunks exceeded the limits of one transaction, so it is unknown whether any row is inserted',
    {
      cause,
      hint: '"insert" must not use a transaction that is already open. If each call begins its own transaction, lower "maxRows".',
    },
  )
}
