/** Runs Drizzle on Postgres.js in the contract tests. */
import { eq, sql } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import { drizzleClient, type DrizzleClientConfig } from '../../../adapters/drizzle-postgres-js.js'
import type {
  AdapterDriver,
  AdapterVariant,
  Refusal,
  Statements,
} from '../../support/adapter-contract/adapter-driver.js'
import { postgresJsOptions, postgresJsRefusals } from './postgres-js.js'

type Config = DrizzleClientConfig<Record<string, never>>

const clientVariant: AdapterVariant<Config> = {
  name: 'drizzleClient',
  options: (settings) => ({
    logger: {
      logQuery: (query, parameters) => settings.log(`${query} ${JSON.stringify(parameters)}`),
    },
    connection: postgresJsOptions(settings),
  }),
  open: (login, config) => {
    const db = drizzleClient(login, config)
    return {
      ...statementsOn(db),
      transaction: (work) => db.transaction((transaction) => work(statementsOn(transaction))),
      // As in the driver for Postgres.js.
      close: () => db.$client.end({ timeout: 1 }),
      objects: [db, db.$client, db.$client.options],
    }
  },
  refusesAt: 'construction',
  refusals: postgresJsRefusals.map((refusal): Refusal => ({
    ...refusal,
    options: { connection: refusal.options },
  })),
}

export const drizzlePostgresJsDriver: AdapterDriver = {
  client: 'drizzle-postgres-js',
  variants: [clientVariant],
}

const note = pgTable('note', { id: integer().primaryKey(), body: text() })

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
