/** Drizzle on Postgres.js in the demo. */
import { eq, sql } from 'drizzle-orm'
import { randomUUID } from 'node:crypto'
import { drizzleClient, drizzleTransaction } from 'pg-iam/drizzle-postgres-js'
import type { DemoClient, DemoClientSettings } from '../demo-client.js'
import { account, note } from './drizzle-schema.js'

export async function openDrizzlePostgresJs(settings: DemoClientSettings): Promise<DemoClient> {
  const { login, name, poolSize, from, to } = settings
  const db = drizzleClient(login, { connection: { max: poolSize } })
  return {
    countNotes: () => db.$count(note, eq(note.client, name)),
    async addNote() {
      await db.insert(note).values({ id: randomUUID(), client: name })
    },
    async transfer() {
      await drizzleTransaction(db, async (transaction) => {
        await transaction
          .update(account)
          .set({ balance: sql`${account.balance} - 1` })
          .where(eq(account.id, from))
        await transaction
          .update(account)
          .set({ balance: sql`${account.balance} + 1` })
          .where(eq(account.id, to))
      })
    },
    close: () => db.$client.end(),
  }
}
