/** pg with a token for each physical connection: `npm run example pg`. */
import { randomUUID } from 'node:crypto'
import type { Login } from 'pg-iam'
import { createPool, pgTransaction } from 'pg-iam/pg'
import { print } from './print.js'

export async function main(login: Login): Promise<void> {
  const pool = createPool(login, { max: 5 })
  try {
    await pool.query(
      `CREATE TABLE IF NOT EXISTS pg_iam_account
         (id uuid PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL)`,
    )
    print('created table pg_iam_account, unless it was there')

    const ada = randomUUID()
    const ben = randomUUID()
    await pool.query('INSERT INTO pg_iam_account VALUES ($1, $2, $3), ($4, $5, $6)', [
      ada,
      'Ada',
      100,
      ben,
      'Ben',
      0,
    ])
    print('wrote two accounts: Ada 100, Ben 0')

    await pgTransaction(pool, async (client) => {
      const move = 'UPDATE pg_iam_account SET balance = balance + $2 WHERE id = $1'
      await client.query(move, [ada, -30])
      await client.query(move, [ben, 30])
    })
    print('moved 30 from Ada to Ben in a transaction')

    const { rows: accounts } = await pool.query<{ owner: string; balance: number }>(
      'SELECT owner, balance FROM pg_iam_account WHERE id IN ($1, $2) ORDER BY owner',
      [ada, ben],
    )
    print(`read: ${accounts.map(({ owner, balance }) => `${owner} ${balance}`).join(', ')}`)

    await pool.query('DELETE FROM pg_iam_account WHERE id IN ($1, $2)', [ada, ben])
    print('removed both accounts')
  } finally {
    await pool.end()
    print('closed the pool')
  }
}
