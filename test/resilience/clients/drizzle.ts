/** Opens Drizzle on pg for the resilience tests. */
import { sql } from 'drizzle-orm'
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import {
  drizzleClient,
  drizzleTransaction,
  type DrizzleTransaction,
} from '../../../adapters/drizzle.js'
import { note } from './drizzle-schema.js'
import { holdClient } from './pg.js'
import type { ResilientClient, Statements, TransactionStatements } from './resilient-client.js'

export const client: ResilientClient = {
  name: 'drizzle',
  entries: [
    {
      name: 'drizzleClient',
      open: (login, { poolSize }) => {
        const db = drizzleClient(login, { connection: { max: poolSize } })
        return {
          ...statementsOn(db),
          transaction: (work, { isolation, ...retry } = {}) =>
            drizzleTransaction(db, (transaction) => work(inTransaction(transaction)), {
              ...(isolation === undefined ? {} : { isolationLevel: isolation }),
              ...retry,
            }),
          ownTransaction: (work) =>
            db.transaction((transaction) => work(inTransaction(transaction))),
          hold: () => holdClient(db.$client),
          close: () => db.$client.end(),
        }
      },
      own: 'protected',
      retiresIdle: true,
      takesAgedBack: true,
      reopensEarly: false,
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

function statementsOn(db: Pick<NodePgDatabase, 'execute' | 'insert'>): Statements {
  return {
    run: async (text) => (await db.execute(sql.raw(text))).rows,
    insert: async (id) => {
      await db.insert(note).values({ id })
    },
  }
}
