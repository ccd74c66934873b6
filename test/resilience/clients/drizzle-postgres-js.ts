/** Opens Drizzle on Postgres.js for the resilience tests. */
import { sql } from 'drizzle-orm'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import {
  drizzleClient,
  drizzleTransaction,
  type DrizzleTransaction,
} from '../../../adapters/drizzle-postgres-js.js'
import { note } from './drizzle-schema.js'
import { reserve, sqlOptions } from './postgres-js.js'
import type { ResilientClient, Statements, TransactionStatements } from './resilient-client.js'

export const client: ResilientClient = {
  name: 'drizzle-postgres-js',
  entries: [
    {
      name: 'drizzleClient',
      open: (login, { poolSize }) => {
        const db = drizzleClient(login, { connection: sqlOptions(poolSize) })
        return {
          ...statementsOn(db),
          transaction: (work, { isolation, ...retry } = {}) =>
            drizzleTransaction(db, (transaction) => work(inTransaction(transaction)), {
              ...(isolation === undefined ? {} : { isolationLevel: isolation }),
              ...retry,
            }),
          ownTransaction: (work) =>
            db.transaction((transaction) => work(inTransaction(transaction))),
          hold: () => reserve(db.$client),
          close: () => db.$client.end({ timeout: 1 }),
        }
      },
      own: 'protected',
      retiresIdle: true,
      takesAgedBack: true,
      reopensEarly: true,
    },
  ],
}

function inTransaction(transaction: DrizzleTransaction): TransactionStatements {
  return {
    ...statementsOn(transaction),
    own: transaction,
    nested: (work) => transaction.transaction((inner) => work(statementsOn(inner))),
  }
}

function statementsOn(db: Pick<PostgresJsDatabase, 'execute' | 'insert'>): Statements {
  return {
    run: async (text) => [...(await db.execute(sql.raw(text)))],
    insert: async (id) => {
      await db.insert(note).values({ id })
    },
  }
}
