import { integer, pgTable, text } from 'drizzle-orm/pg-core'

/** The table of the contract. */
export const note = pgTable('note', { id: integer().primaryKey(), body: text() })
