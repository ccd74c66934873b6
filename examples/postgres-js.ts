/** Postgres.js with a token for each physical connection: `npm run example postgres-js`. */
import { randomUUID } from 'node:crypto'
import type { Login } from 'pg-iam'
import { createSql, sqlTransaction } from 'pg-iam/postgres-js'
import { print } from './print.js'

export async function main(login: Login): Promise<void> {
  // Postgres.js prints notices by default, such as that the table already exists.
  const sql = createSql(login, { max: 5, onnotice: () => {} })
  try {
    await sql`CREATE TABLE IF NOT EXISTS pg_iam_account
      (id uuid PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL)`
    print('created table pg_iam_account, unless it was there')

    const ada = randomUUID()
    const ben = randomUUID()
    await sql`INSERT INTO pg_iam_account ${sql([
      { id: ada, owner: 'Ada', balance: 100 },
      { id: ben, owner: 'Ben', balance: 0 },
    ])}`
    print('wrote two accounts: Ada 100, Ben 0')

    await sqlTransaction(sql, async (transaction) => {
      await transaction`UPDATE pg_iam_account SET balance = balance - 30 WHERE id = ${ada}`
      await transaction`UPDATE pg_iam_account SET balance = balance + 30 WHERE id = ${ben}`
    })
    print('moved 30 from Ada to Ben in a transaction')

    const accounts = await sql<{ owner: string; balance: number }[]>`
      SELECT owner, balance FROM pg_iam_account WHERE id IN ${sql([ada, ben])} ORDER BY owner`
    print(`read: ${accounts.map(({ owner, balance }) => `${owner} ${balance}`).join(', ')}`)

    await sql`DELETE FROM pg_iam_account WHERE id IN ${sql([ada, ben])}`
    print('removed both accounts')
  } finally {
    await sql.end()
    print('closed the pool')
  }
}
