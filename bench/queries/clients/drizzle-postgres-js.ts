/** Drizzle on Postgres.js. */
import { sql } from 'drizzle-orm'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import { drizzleClient } from '../../../adapters/drizzle-postgres-js.js'
import { QUERY, type BenchClient, type BenchPool } from './bench-client.js'
import { sqlOptions, staticSql } from './postgres-js.js'

export const drizzleOnPostgresJs: BenchClient = {
  name: 'drizzle-postgres-js',
  openStatic: (login, poolSize) => poolOf(drizzle({ client: staticSql(login, poolSize) })),
  openOurs: (login, poolSize) => poolOf(drizzleClient(login, { connection: sqlOptions(poolSize) })),
}

function poolOf(db: PostgresJsDatabase & { $client: Sql }): BenchPool {
  const query = sql.raw(QUERY)
  return { query: () => db.execute(query).execute(), close: () => db.$client.end() }
}
