/** One transaction of Drizzle on one connection of its pool. */
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { PgTransactionConfig } from 'drizzle-orm/pg-core'
import type { Pool, PoolClient } from 'pg'
import { explainedBy } from '../../core/conflict/explain-loss.js'
import { lossOf } from '../../core/connection/stream-factory.js'
import { lendToTransaction } from '../../core/conflict/transaction-lease.js'

type Transaction<TSchema extends Record<string, unknown>> = Parameters<
  Parameters<NodePgDatabase<TSchema>['transaction']>[0]
>[0]

/**
 * Runs `work` in a transaction, on a connection that is taken here: Drizzle (0.45) sends BEGIN before its `try`, and gives the
 * connection back in its `finally`. Rejects with what `work` failed with, whatever became of the ROLLBACK after it.
 */
export async function runOnPool<T, TSchema extends Record<string, unknown>>(
  db: NodePgDatabase<TSchema> & { $client: Pool },
  work: (transaction: Transaction<TSchema>, connection: unknown) => Promise<T>,
  config: PgTransactionConfig | undefined,
): Promise<T> {
  const client = await db.$client.connect()
  const lease = lendToTransaction(client)
  let failure: { error: unknown } | undefined
  try {
    return await databaseOn(lease.client, db).transaction(async (transaction) => {
      try {
        return await work(transaction, client)
      } catch (error) {
        failure = { error }
        throw error
      } finally {
        lease.close()
      }
    }, config)
  } catch (error) {
    const loss = lossOf(client)
    // A ROLLBACK that fails after a COMMIT that failed says less than that.
    const first = loss === undefined ? error : (lease.endFailure ?? error)
    throw explainedBy(loss, failure === undefined ? first : failure.error)
  } finally {
    lease.end()
    client.release(!lease.isClean)
  }
}

/** The same database on one connection, with the dialect, the schema and the logger of `db`. */
function databaseOn<TSchema extends Record<string, unknown>>(
  client: PoolClient,
  db: NodePgDatabase<TSchema>,
): NodePgDatabase<TSchema> {
  const { dialect, session } = db as unknown as DrizzleInternals
  const Session = session.constructor as new (...args: unknown[]) => unknown
  const Database = db.constructor as new (...args: unknown[]) => NodePgDatabase<TSchema>
  return new Database(
    dialect,
    new Session(client, dialect, session.schema, session.options),
    session.schema,
  )
}

/** Drizzle marks these as internal; it offers no other way to move a database onto one connection. */
interface DrizzleInternals {
  dialect: unknown
  session: { schema: unknown; options: unknown }
}
