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

// @ts-expect-error a URL belongs into loginFromUrl
createSql(login, 'postgres://db.example.com')
// @ts-expect-error Postgres.js has no such option
postgresOptions(login, { maximum: 10 })
