/** Drizzle on pg. */
import { sql } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import { Pool } from 'pg'
import { drizzleClient } from '../../../adapters/drizzle.js'
import { QUERY, type BenchClient, type BenchPool } from './bench-client.js'
import { pgPoolOptions } from './pg.js'

export const drizzleOnPg: BenchClient = {
  name: 'drizzle',
  openStatic: (login, poolSize) =>
    poolOf(drizzle({ client: new Pool({ ...login, ...pgPoolOptions(poolSize) }) })),
  openOurs: (login, poolSize) =>
    poolOf(drizzleClient(login, { connection: pgPoolOptions(poolSize) })),
}

function poolOf(db: NodePgDatabase & { $client: Pool }): BenchPool {
  const query = sql.raw(QUERY)
  return { query: () => db.execute(query), close: () => db.$client.end() }
}
