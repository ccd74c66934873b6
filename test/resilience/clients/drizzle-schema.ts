/** The table of the resilience tests, as both Drizzles see it. */
import { integer, pgTable } from 'drizzle-orm/pg-core'

export const note = pgTable('note', { id: integer().primaryKey() })
