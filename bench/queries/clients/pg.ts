/** pg. */
import { Pool, type PoolConfig } from 'pg'
import { createPool } from '../../../adapters/pg.js'
import { QUERY, type BenchClient, type BenchPool } from './bench-client.js'

export const pgClient: BenchClient = {
  name: 'pg',
  openStatic: (login, poolSize) => poolOf(new Pool({ ...login, ...pgPoolOptions(poolSize) })),
  openOurs: (login, poolSize) => poolOf(createPool(login, pgPoolOptions(poolSize))),
}

export function pgPoolOptions(poolSize: number): PoolConfig {
  return { max: poolSize, idleTimeoutMillis: 0 }
}

export function poolOf(pool: Pool): BenchPool {
  return { query: () => pool.query(QUERY), close: () => pool.end() }
}
