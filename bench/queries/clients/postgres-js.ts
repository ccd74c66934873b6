/** Postgres.js. */
import postgres, { type Options, type Sql } from 'postgres'
import { createSql } from '../../../adapters/postgres-js.js'
import type { StaticLogin } from '../../postgres/tls-postgres.js'
import type { BenchClient, BenchPool } from './bench-client.js'

export const postgresJsClient: BenchClient = {
  name: 'postgres-js',
  openStatic: (login, poolSize) => poolOf(staticSql(login, poolSize)),
  openOurs: (login, poolSize) => poolOf(createSql(login, sqlOptions(poolSize)) as Sql),
}

export function staticSql({ ssl, ...login }: StaticLogin, poolSize: number): Sql {
  return postgres({ ...login, ssl: { ...ssl }, ...sqlOptions(poolSize) }) as Sql
}

export function sqlOptions(poolSize: number): Options<{}> {
  return { max: poolSize }
}

function poolOf(sql: Sql): BenchPool {
  return { query: () => sql`SELECT 1 AS one`.execute(), close: () => sql.end() }
}
