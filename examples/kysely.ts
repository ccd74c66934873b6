/** Kysely with a token for each physical connection: `npm run example kysely`. */
import { Kysely, sql } from 'kysely'
import { randomUUID } from 'node:crypto'
import type { Login } from 'pg-iam'
import { kyselyDialect, kyselyTransaction } from 'pg-iam/kysely'
import { print } from './print.js'

interface Database {
  pg_iam_account: { id: string; owner: string; balance: number }
}

export async function main(login: Login): Promise<void> {
  const db = new Kysely<Database>({ dialect: kyselyDialect(login, { pool: { max: 5 } }) })
  try {
    await sql`CREATE TABLE IF NOT EXISTS pg_iam_account
                (id uuid PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL)`.execute(db)
    print('created table pg_iam_account, unless it was there')

    const ada = randomUUID()
    const ben = randomUUID()
    const written = [
      { id: ada, owner: 'Ada', balance: 100 },
      { id: ben, owner: 'Ben', balance: 0 },
    ]
    await db.insertInto('pg_iam_account').values(written).execute()
    print('wrote two accounts: Ada 100, Ben 0')

    await kyselyTransaction(db, async (transaction) => {
      await transaction
        .updateTable('pg_iam_account')
        .set((account) => ({ balance: account('balance', '-', 30) }))
        .where('id', '=', ada)
        .execute()
      await transaction
        .updateTable('pg_iam_account')
        .set((account) => ({ balance: account('balance', '+', 30) }))
        .where('id', '=', ben)
        .execute()
    })
    print('moved 30 from Ada to Ben in a transaction')

    const accounts = await db
      .selectFrom('pg_iam_account')
      .selectAll()
      .where('id', 'in', [ada, ben])
      .orderBy('owner')
      .execute()
    print(`read: ${accounts.map(({ owner, balance }) => `${owner} ${balance}`).join(', ')}`)

    await db.deleteFrom('pg_iam_account').where('id', 'in', [ada, ben]).execute()
    print('removed both accounts')
  } finally {
    await db.destroy()
    print('closed the pool')
  }
}
