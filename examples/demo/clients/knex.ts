/** Knex in the demo. */
import knex from 'knex'
import { randomUUID } from 'node:crypto'
import { knexConfig, knexTransaction } from 'pg-iam/knex'
import type { DemoClient, DemoClientSettings } from '../demo-client.js'

interface Note {
  id: string
  client: string
}

interface Account {
  id: string
  balance: number
}

export async function openKnex(settings: DemoClientSettings): Promise<DemoClient> {
  const { login, name, poolSize, from, to } = settings
  const db = knex(knexConfig(login, { pool: { min: 0, max: poolSize } }))
  return {
    async countNotes() {
      const row = await db<Note>('demo_note').where('client', name).count().first()
      return Number(row?.['count'])
    },
    async addNote() {
      await db<Note>('demo_note').insert({ id: randomUUID(), client: name })
    },
    async transfer() {
      await knexTransaction(db, async (transaction) => {
        await transaction<Account>('demo_account').where('id', from).decrement('balance', 1)
        await transaction<Account>('demo_account').where('id', to).increment('balance', 1)
      })
    },
    close: () => db.destroy(),
  }
}
