/** Whether a transaction of Postgres.js is alive, and how its function runs meanwhile. */
import type { TransactionSql } from 'postgres'
import { PgIamError } from '../../core/errors.js'

export type Work = (sql: TransactionSql) => unknown

export interface TransactionState {
  readonly isOver: boolean
  /** The error for a statement that comes when the transaction is over. */
  tooLate(): unknown
  /** Says that its connection is lost, as `error` tells. */
  lose(error: unknown): void
  /** Says that it has ended. Returns the first error that told of it: `error`, or that of an earlier loss. */
  end(error?: unknown): unknown
}

export function createTransactionState(): TransactionState {
  let isOver = false
  let loss: { error: unknown } | undefined
  return {
    get isOver() {
      return isOver
    },
    // The statement fails of what ended the transaction, where that was not its function's own end.
    tooLate: () => (loss === undefined ? over() : loss.error),
    lose(error) {
      isOver = true
      loss ??= { error }
    },
    end(error) {
      isOver = true
      if (loss === undefined && isConnectionLost(error)) loss = { error }
      return loss === undefined ? error : loss.error
    },
  }
}

/**
 * Runs the caller's function, and tells Postgres.js of its end only while the transaction lives: a promise that never settles
 * is what keeps it from writing to the dead connection. The end waits for one turn of the event loop, in which the closing of
 * the connection, that the function may have failed of, has reached `begin`.
 */
export function runGuarded(
  work: () => unknown,
  transaction: Pick<TransactionState, 'isOver'>,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void): void => {
      setImmediate(() => {
        if (!transaction.isOver) end()
      })
    }
    Promise.resolve()
      .then(work)
      // Postgres.js takes an array of queries for their results.
      .then((result) => (Array.isArray(result) ? Promise.all(result) : result))
      .then(
        (result) => settle(() => resolve(result)),
        (error: unknown) => settle(() => reject(error as Error)),
      )
  })
}

/**
 * An error of a statement is Postgres.js's own class. What its connection ended with is not: CONNECTION_CLOSED and the like, the
 * network's errors, or the last words of the server, with its SQLSTATE.
 */
export function isConnectionLost(error: unknown): boolean {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown }
  return (
    name !== 'PostgresError' &&
    typeof code === 'string' &&
    /^(CONNECTION_|CONNECT_|E[A-Z]{3,}|[0-9A-Z]{5}$)/.test(code)
  )
}

function over(): PgIamError {
  return new PgIamError(
    'ERR_CLOSED',
    'the transaction is over, and so is the use of its connection',
    {
      hint: 'Wait for each statement before the function of the transaction returns.',
    },
  )
}
