/** Drizzle on Postgres.js, with a token for each physical connection: `npm run example drizzle-postgres-js`. */
import { eq, inArray, sql } from 'drizzle-orm'
import { integer, pgTable, text, uuid } from 'drizzle-orm/pg-core'
import { randomUUID } from 'node:crypto'
import type { Login } from 'pg-iam'
import { drizzleClient, drizzleTransaction } from 'pg-iam/drizzle-postgres-js'
import { print } from './print.js'

const account = pgTable('pg_iam_account', {
  id: uuid().primaryKey(),
  owner: text().notNull(),
  balance: integer().notNull(),
})

export async function main(login: Login): Promise<void> {
  // Postgres.js prints notices by default, such as that the table already exists.
  const db = drizzleClient(login, { connection: { max: 5, onnotice: () => {} } })
  try {
    await db.execute(
      sql`CREATE TABLE IF NOT EXISTS pg_iam_account
            (id uuid PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL)`,
    )
    print('created table pg_iam_account, unless it was there')

    const ada = randomUUID()
    const ben = randomUUID()
    await db.insert(account).values([
      { id: ada, owner: 'Ada', balance: 100 },
      { id: ben, owner: 'Ben', balance: 0 },
    ])
    print('wrote two accounts: Ada 100, Ben 0')

    await drizzleTransaction(db, async (transaction) => {
      await transaction
        .update(account)
        .set({ balance: sql`${account.balance} - 30` })
        .where(eq(account.id, ada))
      await transaction
        .update(account)
        .set({ balance: sql`${account.balance} + 30` })
        .where(eq(account.id, ben))
    })
    print('moved 30 from Ada to Ben in a transaction')

    const isOurs = inArray(account.id, [ada, ben])
    const accounts = await db.select().from(account).where(isOurs).orderBy(account.owner)
    print(`read: ${accounts.map(({ owner, balance }) => `${owner} ${balance}`).join(', ')}`)

    await db.delete(account).where(isOurs)
    print('removed both accounts')
  } finally {
    await db.$client.end()
    print('closed the pool')
  }
}
