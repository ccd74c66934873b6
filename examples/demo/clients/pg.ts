/** pg in the demo. */
import { randomUUID } from 'node:crypto'
import { createPool, pgTransaction } from 'pg-iam/pg'
import type { DemoClient, DemoClientSettings } from '../demo-client.js'

export async function openPg(settings: DemoClientSettings): Promise<DemoClient> {
  const { login, name, poolSize, from, to } = settings
  const pool = createPool(login, { max: poolSize })
  return {
    async countNotes() {
      const { rows } = await pool.query<{ count: string }>(
        'SELECT count(*) FROM demo_note WHERE client = $1',
        [name],
      )
      return Number(rows[0]?.count)
    },
    async addNote() {
      await pool.query('INSERT INTO demo_note (id, client) VALUES ($1, $2)', [randomUUID(), name])
    },
    async transfer() {
      const move = 'UPDATE demo_account SET balance = balance + $2 WHERE id = $1'
      await pgTransaction(pool, async (client) => {
        await client.query(move, [from, -1])
        await client.query(move, [to, 1])
      })
    },
    close: () => pool.end(),
  }
}
