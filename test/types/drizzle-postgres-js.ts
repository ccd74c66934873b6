/** User code for Drizzle on Postgres.js compiles without a cast. Nothing here runs. */
import { eq } from 'drizzle-orm'
import { integer, pgTable, text, withReplicas } from 'drizzle-orm/pg-core'
import type { Sql } from 'postgres'
import {
  drizzleClient,
  drizzleTransaction,
  type DrizzleTransaction,
} from '../../adapters/drizzle-postgres-js.js'
import { login } from './login.js'

const note = pgTable('note', { id: integer().primaryKey(), body: text() })

export const byUrl = drizzleClient('postgres://app@db.example.com/shop', { logger: true })
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
  const replicated = withReplicas(db, [db])
  const notes: number = await drizzleTransaction(replicated, countNotes, {
    accessMode: 'read only',
  })
  return count === notes ? found?.body : undefined
}

async function countNotes(transaction: DrizzleTransaction<typeof db>): Promise<number> {
  return (await transaction.query.note.findMany()).length
}

// @ts-expect-error a transaction is not a database
void db.transaction(async (transaction) => drizzleTransaction(transaction, async () => 1))

// @ts-expect-error no schema was given
void plain.query.note
// @ts-expect-error a URL must be passed to loginFromUrl
drizzleClient(login, { connection: 'postgres://db.example.com' })
