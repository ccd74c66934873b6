/** Effect SQL runs a query and a transaction. */
import { PgClient } from '@effect/sql-pg'
import { Effect } from 'effect'
import { Database } from './effect-sql.js'
import { report } from './report.js'

const program = Effect.gen(function* () {
  const sql = yield* PgClient.PgClient
  yield* sql`CREATE TABLE effect_sql (id int PRIMARY KEY)`
  yield* sql.withTransaction(sql`INSERT INTO effect_sql VALUES (${1})`)
  return yield* sql`SELECT id, current_user::text AS me FROM effect_sql`
})
const rows = await Effect.runPromise(program.pipe(Effect.provide(Database)))
report(rows)
