/** Postgres.js in the demo. */
import { randomUUID } from 'node:crypto'
import { createSql, sqlTransaction } from 'pg-iam/postgres-js'
import type { DemoClient, DemoClientSettings } from '../demo-client.js'

export async function openPostgresJs(settings: DemoClientSettings): Promise<DemoClient> {
  const { login, name, poolSize, from, to } = settings
  const sql = createSql(login, { max: poolSize })
  return {
    async countNotes() {
      const [row] = await sql<{ count: string }[]>`
        SELECT count(*) FROM demo_note WHERE client = ${name}`
      return Number(row?.count)
    },
    async addNote() {
      await sql`INSERT INTO demo_note (id, client) VALUES (${randomUUID()}, ${name})`
    },
    async transfer() {
      await sqlTransaction(sql, async (transaction) => {
        await transaction`UPDATE demo_account SET balance = balance - 1 WHERE id = ${from}`
        await transaction`UPDATE demo_account SET balance = balance + 1 WHERE id = ${to}`
      })
    },
    close: () => sql.end(),
  }
}
