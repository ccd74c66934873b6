/** Drizzle on pg for the tests. */
import { eq, sql } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { Pool } from 'pg'
import {
  drizzleClient,
  type DrizzleClientConfig,
  drizzleTransaction,
  type DrizzleTransaction,
} from '../../adapters/drizzle.js'
import type {
  Client,
  ClientEntry,
  OpenClient,
  Refusal,
  Statements,
  TransactionStatements,
} from './client.js'
import { holdClient, pgRefusals, poolOptions } from './pg.js'

type Config = DrizzleClientConfig<Record<string, never>>

const entry: ClientEntry<Config> = {
  name: 'drizzleClient',
  options: (settings) => ({
    logger: {
      logQuery: (query, parameters) => settings.log(`${query} ${JSON.stringify(parameters)}`),
    },
    connection: poolOptions(settings),
  }),
  open: (login, config) => openDrizzle(drizzleClient(login, config)),
  refusesAt: 'construction',
  refusals: pgRefusals.map((refusal): Refusal => ({
    ...refusal,
    options: { connection: refusal.options },
  })),
  own: 'protected',
  retiresIdle: true,
  takesAgedBack: true,
  reopensEarly: false,
}

export const client: Client = { name: 'drizzle', entries: [entry] }

export function openDrizzle(db: Db): OpenClient {
  return {
    ...statementsOn(db),
    transaction: (work, { isolation, ...retry } = {}) =>
      drizzleTransaction(db, (transaction) => work(inTransaction(transaction)), {
        ...(isolation === undefined ? {} : { isolationLevel: isolation }),
        ...retry,
      }),
    ownTransaction: (work) => db.transaction((transaction) => work(inTransaction(transaction))),
    hold: () => holdClient(db.$client),
    close: () => db.$client.end(),
    objects: [db, db.$client],
  }
}

function inTransaction(transaction: DrizzleTransaction): TransactionStatements {
  return {
    ...statementsOn(transaction),
    own: transaction,
    nested: (work) => transaction.transaction((inner) => work(statementsOn(inner))),
  }
}

const note = pgTable('note', { id: integer().primaryKey(), body: text() })

type Db = NodePgDatabase & { $client: Pool }

type Target = Pick<NodePgDatabase, 'execute' | 'insert' | 'select'>

function statementsOn(db: Target): Statements {
  return {
    run: async (statement) => (await db.execute(sql.raw(statement))).rows,
    addNote: async (id, body) => {
      await db.insert(note).values({ id, body })
    },
    findNote: async (id) => {
      const [found] = await db.select().from(note).where(eq(note.id, id))
      return found?.body ?? undefined
    },
  }
}
