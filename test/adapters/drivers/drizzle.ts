/** Runs Drizzle on pg in the contract tests. */
import { eq, sql } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import { drizzleClient, type DrizzleClientConfig } from '../../../adapters/drizzle.js'
import type {
  AdapterDriver,
  AdapterVariant,
  Refusal,
  Statements,
} from '../../support/adapter-contract/adapter-driver.js'
import { pgRefusals, poolOptions } from './pg.js'

type Config = DrizzleClientConfig<Record<string, never>>

const clientVariant: AdapterVariant<Config> = {
  name: 'drizzleClient',
  options: (settings) => ({
    logger: {
      logQuery: (query, parameters) => settings.log(`${query} ${JSON.stringify(parameters)}`),
    },
    connection: poolOptions(settings),
  }),
  open: (login, config) => {
    const db = drizzleClient(login, config)
    return {
      ...statementsOn(db),
      transaction: (work) => db.transaction((transaction) => work(statementsOn(transaction))),
      close: () => db.$client.end(),
      objects: [db, db.$client],
    }
  },
  refusesAt: 'construction',
  refusals: pgRefusals.map((refusal): Refusal => ({
    ...refusal,
    options: { connection: refusal.options },
  })),
}

export const drizzleDriver: AdapterDriver = { client: 'drizzle', variants: [clientVariant] }

const note = pgTable('note', { id: integer().primaryKey(), body: text() })

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
