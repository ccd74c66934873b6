/** Drizzle on Postgres.js for the tests. */
import { eq, sql } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import {
  drizzleClient,
  type DrizzleClientConfig,
  drizzleTransaction,
  type DrizzleTransaction,
} from '../../adapters/drizzle-postgres-js.js'
import type {
  Client,
  ClientEntry,
  OpenClient,
  Refusal,
  Statements,
  TransactionStatements,
} from './client.js'
import { reserve, postgresJsRefusals, postgresJsOptions } from './postgres-js.js'

type Config = DrizzleClientConfig<Record<string, never>>

const entry: ClientEntry<Config> = {
  name: 'drizzleClient',
  options: (settings) => ({
    logger: {
      logQuery: (query, parameters) => settings.log(`${query} ${JSON.stringify(parameters)}`),
    },
    connection: postgresJsOptions(settings),
  }),
  open: (login, config) => openDrizzle(drizzleClient(login, config)),
  refusesAt: 'construction',
  refusals: postgresJsRefusals.map((refusal): Refusal => ({
    ...refusal,
    options: { connection: refusal.options },
  })),
  own: 'protected',
  retiresIdle: true,
  takesAgedBack: true,
  reopensEarly: true,
}

export const client: Client = { name: 'drizzle-postgres-js', entries: [entry] }

export function openDrizzle(db: Db): OpenClient {
  return {
    ...statementsOn(db),
    transaction: (work, { isolation, ...retry } = {}) =>
      drizzleTransaction(db, (transaction) => work(inTransaction(transaction)), {
        ...(isolation === undefined ? {} : { isolationLevel: isolation }),
        ...retry,
      }),
    ownTransaction: (work) => db.transaction((transaction) => work(inTransaction(transaction))),
    hold: () => reserve(db.$client),
    close: () => db.$client.end({ timeout: 1 }),
    objects: [db, db.$client, db.$client.options],
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

type Db = PostgresJsDatabase & { $client: Sql }

type Target = Pick<PostgresJsDatabase, 'execute' | 'insert' | 'select'>

function statementsOn(db: Target): Statements {
  return {
    run: async (statement) => [...(await db.execute(sql.raw(statement)))],
    addNote: async (id, body) => {
      await db.insert(note).values({ id, body })
    },
    findNote: async (id) => {
      const [found] = await db.select().from(note).where(eq(note.id, id))
      return found?.body ?? undefined
    },
  }
}
