/** The connection of a transaction of Drizzle, which is lent to it and to nothing after it. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Pool, PoolClient } from 'pg'
import {
  explainedBy,
  watchPgClient,
  type TransactionConnection,
} from '../../core/conflict/transaction-connection.js'
import { lendToTransaction, type TransactionLease } from '../../core/conflict/transaction-lease.js'

type Connected = (connection: TransactionConnection | undefined) => void

/** A transaction that Drizzle is about to take a connection for, or has taken one for. */
interface Loan {
  readonly pool: Pool
  readonly connected: Connected
  isTaken: boolean
  client?: PoolClient
  connection?: TransactionConnection | undefined
  lease?: TransactionLease<PoolClient>
}

const loans = new AsyncLocalStorage<Loan>()

/**
 * Runs a transaction by `transaction`, a call of Drizzle's own, on a connection of `pool` that is lent to it. Drizzle (0.44, 0.45)
 * keeps the connection where BEGIN fails, and gives one back on which ROLLBACK failed. Rejects with what `work` failed with, whatever
 * became of the ROLLBACK after it.
 */
export async function onLentConnection<Transaction, T>(
  pool: Pool,
  work: (transaction: Transaction) => Promise<T>,
  transaction: (work: (transaction: Transaction) => Promise<T>) => Promise<T>,
  connected: Connected = () => {},
): Promise<T> {
  const outer = loans.getStore()
  // `drizzleTransaction` has prepared it, and calls the `transaction` of `drizzleClient`.
  if (outer !== undefined && outer.pool === pool && !outer.isTaken) return transaction(work)
  lendByPool(pool)
  const loan: Loan = { pool, connected, isTaken: false }
  let failure: { error: unknown } | undefined
  try {
    return await loans.run(loan, () =>
      transaction(async (own) => {
        try {
          return await work(own)
        } catch (error) {
          failure = { error }
          throw error
        } finally {
          loan.lease?.close()
        }
      }),
    )
  } catch (error) {
    const loss = loan.connection?.loss
    if (failure !== undefined) throw explainedBy(loss, failure.error)
    // A ROLLBACK that fails after a COMMIT that failed says less than that.
    throw explainedBy(loss, loss === undefined ? error : (loan.lease?.endFailure ?? error))
  } finally {
    loan.connection?.release()
    loan.lease?.end()
    loan.client?.release(loan.lease?.isClean !== true)
  }
}

/** Has `connect` of a pool lend the connection that Drizzle takes for a transaction; all else is as ever. */
function lendByPool(pool: Pool): void {
  if (lending.has(pool)) return
  lending.add(pool)
  const connect = pool.connect.bind(pool) as (callback?: unknown) => Promise<PoolClient>
  const lend = (callback?: unknown): Promise<PoolClient> => {
    const loan = loans.getStore()
    if (callback !== undefined || loan === undefined || loan.pool !== pool || loan.isTaken)
      return connect(callback)
    loan.isTaken = true
    return connect().then((client) => {
      loan.client = client
      loan.connection = watchPgClient(client)
      loan.connected(loan.connection)
      loan.lease = lendToTransaction(client)
      return loan.lease.client
    })
  }
  Object.defineProperty(pool, 'connect', { value: lend, configurable: true, writable: true })
}

const lending = new WeakSet<Pool>()
