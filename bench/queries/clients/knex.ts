/** Knex. */
import knex, { type Knex } from 'knex'
import { knexConfig } from '../../../adapters/knex.js'
import { QUERY, type BenchClient, type BenchPool } from './bench-client.js'

export const knexClient: BenchClient = {
  name: 'knex',
  openStatic: (login, poolSize) =>
    poolOf(knex({ client: 'pg', connection: { ...login }, pool: poolOptions(poolSize) })),
  openOurs: (login, poolSize) => poolOf(knex(knexConfig(login, { pool: poolOptions(poolSize) }))),
}

function poolOptions(poolSize: number): Knex.PoolConfig {
  return { min: poolSize, max: poolSize }
}

function poolOf(db: Knex): BenchPool {
  return { query: async () => db.raw(QUERY), close: () => db.destroy() }
}
