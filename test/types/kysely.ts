/** User code for Kysely compiles without a cast. Nothing here runs. */
import { type Generated, Kysely, type PostgresDialect, sql, type Transaction } from 'kysely'
import Cursor from 'pg-cursor'
import { kyselyDialect, kyselyTransaction } from '../../adapters/kysely.js'
import { login } from './login.js'

interface Database {
  note: { id: Generated<number>; body: string }
}

export const byUrl: PostgresDialect = kyselyDialect('postgres://app@db.example.com/shop')
const dialect = kyselyDialect(login, {
  pool: { max: 10, application_name: 'shop' },
  cursor: Cursor,
  onCreateConnection: async (connection) => {
    await connection.executeQuery(sql`SET search_path TO shop`.compile(db))
  },
})
const db: Kysely<Database> = new Kysely<Database>({ dialect, log: ['query', 'error'] })

export async function work(): Promise<number> {
  await db.insertInto('note').values({ body: 'one' }).execute()
  const count: number = await kyselyTransaction(db, async (transaction) => {
    await transaction.updateTable('note').set({ body: 'x' }).where('id', '=', 1).execute()
    return 1
  })
  const bodies: string[] = await kyselyTransaction(db.withSchema('shop'), bodiesOf, {
    isolationLevel: 'repeatable read',
    accessMode: 'read only',
    maxAttempts: 3,
  })
  return count + bodies.length
}

async function bodiesOf(transaction: Transaction<Database>): Promise<string[]> {
  const notes = await transaction.selectFrom('note').select('body').execute()
  return notes.map(({ body }) => body)
}

// @ts-expect-error the login is the first argument
kyselyDialect({ pool: { max: 10 } }, login)
// @ts-expect-error options of the pool are fields of `pool`
kyselyDialect(login, { max: 10 })
// @ts-expect-error an isolation level of another database
void kyselyTransaction(db, bodiesOf, { isolationLevel: 'snapshot' })

class OwnKysely extends Kysely<Database> {}
export const bySubclass: Promise<string[]> = kyselyTransaction(new OwnKysely({ dialect }), bodiesOf)
