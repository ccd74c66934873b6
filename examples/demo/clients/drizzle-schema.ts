/** The tables of the demo, as a Drizzle schema for both drivers. */
import { integer, pgTable, text, uuid } from 'drizzle-orm/pg-core'

export const note = pgTable('demo_note', {
  id: uuid().primaryKey(),
  client: text().notNull(),
})

export const account = pgTable('demo_account', {
  id: uuid().primaryKey(),
  balance: integer().notNull(),
})
