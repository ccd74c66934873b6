/** Opens Knex for the resilience tests. */
import knex, { type Knex } from 'knex'
import type { ClientBase } from 'pg'
import { knexConfig, knexConnection, knexTransaction } from '../../../adapters/knex.js'
import type {
  OpenClient,
  ResilientClient,
  Statements,
  TransactionStatements,
} from './resilient-client.js'

export const client: ResilientClient = {
  name: 'knex',
  entries: [
    {
      name: 'knexConfig',
      open: (login, { poolSize }) => openKnex(knex(knexConfig(login, ownConfig(poolSize)))),
      own: 'survives',
      retiresIdle: false,
      takesAgedBack: true,
      reopensEarly: false,
    },
    {
      name: 'knexConnection',
      open: (login, { poolSize }) =>
        openKnex(
          knex({
            ...ownConfig(poolSize),
            client: 'pg',
            version: '16.0',
            connection: knexConnection(login),
          }),
        ),
      own: 'survives',
      retiresIdle: false,
      takesAgedBack: true,
      reopensEarly: false,
    },
  ],
}

function ownConfig(poolSize: number): Knex.Config {
  const log = { warn() {}, error() {}, debug() {}, deprecate() {} }
  // The pause between Knex's connection attempts. The default of 200 ms would slow down the tests.
  return { pool: { min: 0, max: poolSize, createRetryIntervalMillis: 5 }, log }
}

function openKnex(db: Knex): OpenClient {
  return {
    ...statementsOn(db),
    transaction: (work, { isolation, ...retry } = {}) =>
      knexTransaction(db, (transaction) => work(inTransaction(transaction)), {
        ...(isolation === undefined ? {} : { isolationLevel: isolation }),
        ...retry,
      }),
    ownTransaction: (work) => db.transaction((transaction) => work(inTransaction(transaction))),
    transactionWithin: (own, work) => knexTransaction(own as Knex.Transaction, work),
    hold: async () => {
      const { client: pooled } = db as { client: Knex.Client }
      const connection = (await pooled.acquireConnection()) as ClientBase
      return {
        run: async (text) => (await connection.query<Record<string, unknown>>(text)).rows,
        release: async () => void pooled.releaseConnection(connection),
      }
    },
    close: () => db.destroy(),
  }
}

function inTransaction(transaction: Knex.Transaction): TransactionStatements {
  return {
    ...statementsOn(transaction),
    own: transaction,
    nested: (work) => transaction.transaction((inner) => work(statementsOn(inner))),
  }
}

function statementsOn(db: Knex): Statements {
  return {
    run: async (text) => (await db.raw<{ rows: Record<string, unknown>[] }>(text)).rows,
    insert: async (id) => {
      await db('note').insert({ id })
    },
  }
}
