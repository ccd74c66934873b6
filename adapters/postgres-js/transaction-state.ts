/** Whether a transaction of Postgres.js is alive, and how its function runs meanwhile. */
import type { TransactionSql } from 'postgres'
import { transactionOver } from '../../core/conflict/transaction-lease.js'

export type Work = (sql: TransactionSql) => unknown

export interface TransactionState {
  /** Whether it has ended. */
  readonly isOver: boolean
  /** Whether it takes statements no more: it has ended, or its function has. */
  readonly isClosed: boolean
  /** Says that its function has ended, so that whatever comes now belongs behind COMMIT. */
  close(): void
  /** The error for a statement that comes when the transaction is over. */
  tooLate(): unknown
  /** Says that its connection is lost, as `error` tells. */
  lose(error: unknown): void
  /** Says that it has ended. Returns the first error that told of it: `error`, or that of an earlier loss. */
  end(error?: unknown): unknown
}

export function createTransactionState(): TransactionState {
  let isOver = false
  let isClosed = false
  let loss: { error: unknown } | undefined
  return {
    get isOver() {
      return isOver
    },
    get isClosed() {
      return isOver || isClosed
    },
    close() {
      isClosed = true
    },
    // The statement fails of what ended the transaction, where that was not its function's own end.
    tooLate: () => (loss === undefined ? transactionOver() : loss.error),
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
 *
 * @param settled called when the function has settled
 */
export function runGuarded(
  work: () => unknown,
  transaction: Pick<TransactionState, 'isOver'>,
  settled: () => void = () => {},
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void): void => {
      settled()
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
 * Tells whether an error is the end of the connection: CONNECTION_CLOSED and the like of Postgres.js, an error of the network,
 * or the last words of the server.
 */
export function isConnectionLost(error: unknown): boolean {
  const { code, name, severity } = (error ?? {}) as {
    code?: unknown
    name?: unknown
    severity?: unknown
  }
  if (name === 'PostgresError') return severity === 'FATAL' || severity === 'PANIC'
  return typeof code === 'string' && /^(CONNECTION_|CONNECT_|E[A-Z]{3,})/.test(code)
}
