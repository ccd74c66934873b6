/** The clients, each opened as its documentation describes and with pg-iam. Both have the same pool and the same TLS. */
import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle as drizzleOnPg, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import { drizzle as drizzleOnPostgresJs, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import knex, { type Knex } from 'knex'
import { Pool, type PoolConfig } from 'pg'
import postgres, { type Sql } from 'postgres'
import { QueryTypes, Sequelize } from 'sequelize'
import { DataSource, type DataSourceOptions } from 'typeorm'
import type { Login } from '../core/index.js'
import type { Build } from './benchmark.js'
import type { StaticLogin } from './postgres.js'

export interface BenchClient {
  openStatic(login: StaticLogin, poolSize: number): BenchPool | Promise<BenchPool>
  openOurs(build: Build, login: Login, poolSize: number): Promise<BenchPool>
}

/** Idle connections stay open, so that the order of competitors does not determine which of them opens new connections. */
export interface BenchPool {
  /** Runs the cheapest query, so that overhead has the largest effect. */
  query(): Promise<unknown>
  close(): Promise<void>
}

export const pgClient: BenchClient = {
  openStatic: (login, size) => ofPg(new Pool({ ...login, ...pgSettings(size) })),
  async openOurs(build, login, size) {
    const { createPool } = await build('pg')
    return ofPg(createPool(login, pgSettings(size)))
  },
}

export const CLIENTS: Readonly<Record<string, BenchClient>> = {
  sequelize: {
    openStatic: ({ host, port, user: username, password, database, ssl }, size) => {
      const address = { host, port, username, password, database, dialectOptions: { ssl } }
      return ofSequelize(
        new Sequelize({ dialect: 'postgres', ...address, ...sequelizeSettings(size) }),
      )
    },
    async openOurs(build, login, size) {
      const { sequelizeOptions } = await build('sequelize')
      return ofSequelize(new Sequelize(sequelizeOptions(login, sequelizeSettings(size))))
    },
  },
  typeorm: {
    openStatic: ({ user: username, ...login }, size) =>
      ofTypeOrm({ type: 'postgres', username, ...login, extra: pgSettings(size) }),
    async openOurs(build, login, size) {
      const { typeormOptions } = await build('typeorm')
      return ofTypeOrm(typeormOptions(login, { extra: pgSettings(size) }))
    },
  },
  knex: {
    openStatic: (login, size) =>
      ofKnex(knex({ client: 'pg', connection: { ...login }, pool: { min: size, max: size } })),
    async openOurs(build, login, size) {
      const { knexConfig } = await build('knex')
      return ofKnex(knex(knexConfig(login, { pool: { min: size, max: size } })))
    },
  },
  drizzle: {
    openStatic: (login, size) =>
      ofDrizzle(drizzleOnPg({ client: new Pool({ ...login, ...pgSettings(size) }) })),
    async openOurs(build, login, size) {
      const { drizzleClient } = await build('drizzle')
      return ofDrizzle(drizzleClient(login, { connection: pgSettings(size) }))
    },
  },
  'drizzle-postgres-js': {
    openStatic: (login, size) =>
      ofDrizzleOnPostgresJs(drizzleOnPostgresJs({ client: staticSql(login, size) })),
    async openOurs(build, login, size) {
      const { drizzleClient } = await build('drizzle-postgres-js')
      return ofDrizzleOnPostgresJs(drizzleClient(login, { connection: { max: size } }))
    },
  },
  pg: pgClient,
  'postgres-js': {
    openStatic: (login, size) => ofPostgresJs(staticSql(login, size)),
    async openOurs(build, login, size) {
      const { createSql } = await build('postgres-js')
      return ofPostgresJs(createSql(login, { max: size }) as Sql)
    },
  },
}

export const QUERY = 'SELECT 1 AS one'

export function pgSettings(size: number): PoolConfig {
  return { max: size, idleTimeoutMillis: 0 }
}

function sequelizeSettings(size: number): { logging: false; pool: { min: number; max: number } } {
  return { logging: false, pool: { min: size, max: size } }
}

export function staticSql({ ssl, ...login }: StaticLogin, size: number, options = {}): Sql {
  return postgres({ ...login, ssl: { ...ssl }, max: size, ...options }) as Sql
}

export function ofPg(pool: Pool): BenchPool {
  return { query: () => pool.query(QUERY), close: () => pool.end() }
}

function ofPostgresJs(sql: Sql): BenchPool {
  return { query: () => sql`SELECT 1 AS one`.execute(), close: () => sql.end() }
}

function ofSequelize(sequelize: Sequelize): BenchPool {
  return {
    query: () => sequelize.query(QUERY, { type: QueryTypes.SELECT }),
    close: () => sequelize.close(),
  }
}

async function ofTypeOrm(options: DataSourceOptions): Promise<BenchPool> {
  const dataSource = await new DataSource(options).initialize()
  return { query: () => dataSource.query(QUERY), close: () => dataSource.destroy() }
}

function ofKnex(db: Knex): BenchPool {
  return { query: async () => db.raw(QUERY), close: () => db.destroy() }
}

function ofDrizzle(db: NodePgDatabase & { $client: Pool }): BenchPool {
  const query = drizzleSql.raw(QUERY)
  return { query: () => db.execute(query), close: () => db.$client.end() }
}

function ofDrizzleOnPostgresJs(db: PostgresJsDatabase & { $client: Sql }): BenchPool {
  const query = drizzleSql.raw(QUERY)
  return { query: () => db.execute(query).execute(), close: () => db.$client.end() }
}
