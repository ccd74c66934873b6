/** Knex with a token for each physical connection: `npm run example knex`. */
import knex from 'knex'
import { randomUUID } from 'node:crypto'
import type { Login } from 'pg-iam'
import { knexConfig, knexTransaction } from 'pg-iam/knex'
import { print } from './print.js'

interface Account {
  id: string
  owner: string
  balance: number
}

export async function main(login: Login): Promise<void> {
  const db = knex(knexConfig(login, { pool: { min: 0, max: 5 } }))
  try {
    await db.raw(
      `CREATE TABLE IF NOT EXISTS pg_iam_account
         (id uuid PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL)`,
    )
    print('created table pg_iam_account, unless it was there')

    const ada = randomUUID()
    const ben = randomUUID()
    await db<Account>('pg_iam_account').insert([
      { id: ada, owner: 'Ada', balance: 100 },
      { id: ben, owner: 'Ben', balance: 0 },
    ])
    print('wrote two accounts: Ada 100, Ben 0')

    await knexTransaction(db, async (transaction) => {
      await transaction<Account>('pg_iam_account').where('id', ada).decrement('balance', 30)
      await transaction<Account>('pg_iam_account').where('id', ben).increment('balance', 30)
    })
    print('moved 30 from Ada to Ben in a transaction')

    const accounts = await db<Account>('pg_iam_account').whereIn('id', [ada, ben]).orderBy('owner')
    print(`read: ${accounts.map(({ owner, balance }) => `${owner} ${balance}`).join(', ')}`)

    await db<Account>('pg_iam_account').whereIn('id', [ada, ben]).delete()
    print('removed both accounts')
  } finally {
    await db.destroy()
    print('closed the pool')
  }
}
