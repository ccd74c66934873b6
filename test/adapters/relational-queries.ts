/** Relational queries of Drizzle, whose version 1.0 has relations in place of a schema: https://orm.drizzle.team/docs/relations-v1-v2 */
import * as drizzle from 'drizzle-orm'
import { eq } from 'drizzle-orm'
import type { note } from './drizzle-tables.js'

type Note = typeof note
type DefineRelations = (tables: object) => object

const { defineRelations } = drizzle as { defineRelations?: DefineRelations }

/** The configuration with the table, in the types of 0.45. */
export function withTable(table: Note): { schema: { note: Note } } {
  if (defineRelations === undefined) return { schema: { note: table } }
  return { relations: defineRelations({ note: table }) } as never
}

/** The condition that finds the row. */
export function withId(table: Note, id: number): ReturnType<typeof eq> {
  return defineRelations === undefined ? eq(table.id, id) : ({ id } as never)
}
