/** User code for Postgres.js compiles without a cast. Nothing here runs. */
import postgres, { type Sql } from 'postgres'
import { createSql, postgresOptions, sqlTransaction } from '../../adapters/postgres-js.js'
import { login } from './login.js'

const sql: Sql = createSql(login, {
  max: 10,
  idle_timeout: 20,
  connection: { application_name: 'shop' },
})
export const own: Sql = postgres(postgresOptions(login, { max: 10, prepare: false }))

export const byUrl: Sql = createSql('postgres://app@db.example.com/shop', { max: 10 })
export const optionsByUrl = postgresOptions(new URL('postgres://app@db.example.com/shop'))
const withTypes = createSql(login, {
  types: {
    point: {
      to: 600,
      from: [600],
      serialize: ({ x, y }: { x: number; y: number }) => `(${x},${y})`,
      parse: (raw: string) => ({ x: Number(raw), y: 0 }),
    },
  },
})

export async function work(): Promise<number> {
  const notes = await sql<{ id: number; body: string }[]>`SELECT * FROM note WHERE id = ${1}`
  await sql`INSERT INTO note ${sql({ id: 2, body: 'two' })}`
  await withTypes`SELECT ${withTypes.types.point({ x: 1, y: 2 })}::point`
  const count: number = await sqlTransaction(sql, async (transaction) => {
    await transaction`UPDATE note SET body = 'x'`
    return notes.length
  })
  return count
}

// @ts-expect-error a URL must be passed to loginFromUrl
createSql(login, 'postgres://db.example.com')
// @ts-expect-error Postgres.js has no such option
postgresOptions(login, { maximum: 10 })

export async function values(): Promise<void> {
  const rows = await sqlTransaction(sql, (transaction) => transaction`INSERT INTO note VALUES (1)`)
  const inserted: number = rows.count
  const [first, second] = await sqlTransaction(
    sql,
    (transaction) => [transaction`SELECT 1`, transaction`SELECT 2`] as const,
  )
  void [inserted, first.count, second.columns]
}

export const retried: Sql = createSql(login, { max: 5, retryBegin: true })
createSql(login, { retryBegin: { maxAttempts: 3, onRetry: ({ attempt }) => void attempt } })
postgres(postgresOptions(login, { retryBegin: false }))
// @ts-expect-error retryBegin is true, false, or retry options
createSql(login, { retryBegin: 5 })
// @ts-expect-error retries have no such option
createSql(login, { retryBegin: { attempts: 5 } })
