/** The connection of a transaction of Sequelize whose COMMIT fails. */
import type { Sequelize, Transaction } from 'sequelize'
import { sqlStateOf } from '../../core/conflict/is-occ-conflict.js'
import { lossOf } from '../../core/connection/stream-factory.js'

/**
 * Has `transaction` keep its connection where the server has answered COMMIT with an error, such as a conflict: the transaction is
 * rolled back then, and the session is as good as before. Sequelize (6.37) ends the connection of each COMMIT that fails, and
 * writes so to the console; on Aurora DSQL, where conflicts are every day's business, each would cost a new connection.
 */
export function keepConnection(sequelize: Sequelize, transaction: Transaction): void {
  const inner = transaction as unknown as TransactionInternals
  const { commit } = transaction
  transaction.commit = async () => {
    if (inner.finished !== undefined) return commit.call(transaction)
    const { connection } = inner
    try {
      await sequelize.getQueryInterface().commitTransaction(transaction, inner.options)
    } catch (error) {
      if (sqlStateOf(error) !== undefined && lossOf(connection) === undefined) inner.cleanup()
      else await inner.forceCleanup()
      throw error
    }
    inner.cleanup()
  }
}

/** What `commit()` of Sequelize itself is made of. */
interface TransactionInternals {
  readonly connection: unknown
  readonly finished: string | undefined
  readonly options: object
  /** Gives the connection back to the pool. */
  cleanup(): void
  /** Ends the connection. */
  forceCleanup(): Promise<void>
}
