/** User code for Drizzle on Postgres.js compiles without a cast. Nothing here runs. */
import { eq } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import type { Sql } from 'postgres'
import { drizzleClient, drizzleTransaction } from '../../adapters/drizzle-postgres-js.js'
import { login } from './login.js'

const note = pgTable('note', { id: integer().primaryKey(), body: text() })

const plain = drizzleClient(login, { logger: true, connection: { max: 10 } })
const db = drizzleClient(login, { schema: { note }, casing: 'snake_case' })
export const sql: Sql = db.$client

export async function work(): Promise<string | null | undefined> {
  await plain.insert(note).values({ id: 1, body: 'one' })
  const found = await db.query.note.findFirst({ where: eq(note.id, 1) })
  const count: number = await drizzleTransaction(db, async (transaction) => {
    await transaction.update(note).set({ body: 'x' })
    await transaction.query.note.findMany()
    return 1
  })
  return count === 1 ? found?.body : undefined
}

// @ts-expect-error no schema was given
void plain.query.note
// @ts-expect-error a URL belongs into loginFromUrl
drizzleClient(login, { connection: 'postgres://db.example.com' })
