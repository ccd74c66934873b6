/**
 * The clients, each opened as its documentation describes and with pg-iam. Both have the same pool and the same TLS, and run their query as
 * the clients of the tests do.
 */
import { drizzle as drizzleOnPg } from 'drizzle-orm/node-postgres'
import { drizzle as drizzleOnPostgresJs } from 'drizzle-orm/postgres-js'
import knex from 'knex'
import { Kysely, PostgresDialect } from 'kysely'
import { Pool, type PoolConfig } from 'pg'
import postgres, { type Sql } from 'postgres'
import { PrismaPg } from '@prisma/adapter-pg'
import { Sequelize as Sequelize7 } from '@sequelize/core'
import { PostgresDialect as Sequelize7Postgres } from '@sequelize/postgres'
import { Sequelize } from 'sequelize'
import { DataSource } from 'typeorm'
import type { Login } from '../core/index.js'
import { PrismaClient } from '../examples/prisma/client/client.js'
import type { OpenClient } from '../test/clients/client.js'
import { openDrizzle as openDrizzleOnPostgresJs } from '../test/clients/drizzle-postgres-js.js'
import { openDrizzle } from '../test/clients/drizzle.js'
import { openKnex } from '../test/clients/knex.js'
import { openKysely } from '../test/clients/kysely.js'
import { openPool } from '../test/clients/pg.js'
import { openSql } from '../test/clients/postgres-js.js'
import { openClient as openPrisma } from '../test/clients/prisma.js'
import { openSequelize as openSequelize7 } from '../test/clients/sequelize-7.js'
import { openSequelize } from '../test/clients/sequelize.js'
import { openDataSource } from '../test/clients/typeorm.js'
import type { Build } from './benchmark.js'
import type { StaticLogin } from './postgres.js'

export type BenchPool = Pick<OpenClient, 'run' | 'close'>

/** Idle connections stay open, so that the order of competitors does not determine which of them opens new connections. */
export interface BenchClient {
  openStatic(login: StaticLogin, poolSize: number): BenchPool
  openOurs(build: Build, login: Login, poolSize: number): Promise<BenchPool>
}

export const pgClient: BenchClient = {
  openStatic: (login, size) => openPool(new Pool({ ...login, ...pgSettings(size) })),
  async openOurs(build, login, size) {
    const { createPool } = await build('pg')
    return openPool(createPool(login, pgSettings(size)))
  },
}

export const CLIENTS: Readonly<Record<string, BenchClient>> = {
  sequelize: {
    openStatic: ({ host, port, user: username, password, database, ssl }, size) => {
      const address = { host, port, username, password, database, dialectOptions: { ssl } }
      const settings = { ...address, ...sequelizeSettings(size) }
      return openSequelize(new Sequelize({ dialect: 'postgres', ...settings }))
    },
    async openOurs(build, login, size) {
      const { sequelizeOptions } = await build('sequelize')
      return openSequelize(new Sequelize(sequelizeOptions(login, sequelizeSettings(size))))
    },
  },
  'sequelize-7': {
    openStatic: (login, size) =>
      openSequelize7(
        new Sequelize7({ dialect: Sequelize7Postgres, ...login, ...sequelizeSettings(size) }),
      ),
    async openOurs(build, login, size) {
      const { sequelizeOptions } = await build('sequelize-7')
      return openSequelize7(new Sequelize7(sequelizeOptions(login, sequelizeSettings(size))))
    },
  },
  prisma: {
    openStatic: (login, size) =>
      openPrisma(new PrismaClient({ adapter: new PrismaPg({ ...login, ...pgSettings(size) }) })),
    async openOurs(build, login, size) {
      const { prismaAdapter } = await build('prisma')
      const adapter = prismaAdapter(login, pgSettings(size))
      return openPrisma(new PrismaClient({ adapter }))
    },
  },
  typeorm: {
    openStatic: ({ user: username, ...login }, size) => {
      const extra = pgSettings(size)
      return openDataSource(new DataSource({ type: 'postgres', username, ...login, extra }))
    },
    async openOurs(build, login, size) {
      const { typeormOptions } = await build('typeorm')
      return openDataSource(new DataSource(typeormOptions(login, { extra: pgSettings(size) })))
    },
  },
  knex: {
    openStatic: (login, size) =>
      openKnex(knex({ client: 'pg', connection: { ...login }, pool: { min: size, max: size } })),
    async openOurs(build, login, size) {
      const { knexConfig } = await build('knex')
      return openKnex(knex(knexConfig(login, { pool: { min: size, max: size } })))
    },
  },
  kysely: {
    openStatic: (login, size) => {
      const pool = new Pool({ ...login, ...pgSettings(size) })
      return openKysely(new Kysely({ dialect: new PostgresDialect({ pool }) }))
    },
    async openOurs(build, login, size) {
      const { kyselyDialect } = await build('kysely')
      return openKysely(new Kysely({ dialect: kyselyDialect(login, { pool: pgSettings(size) }) }))
    },
  },
  drizzle: {
    openStatic: (login, size) =>
      openDrizzle(drizzleOnPg({ client: new Pool({ ...login, ...pgSettings(size) }) })),
    async openOurs(build, login, size) {
      const { drizzleClient } = await build('drizzle')
      return openDrizzle(drizzleClient(login, { connection: pgSettings(size) }))
    },
  },
  'drizzle-postgres-js': {
    openStatic: (login, size) =>
      openDrizzleOnPostgresJs(drizzleOnPostgresJs({ client: staticSql(login, size) })),
    async openOurs(build, login, size) {
      const { drizzleClient } = await build('drizzle-postgres-js')
      return openDrizzleOnPostgresJs(drizzleClient(login, { connection: { max: size } }))
    },
  },
  pg: pgClient,
  'postgres-js': {
    openStatic: (login, size) => openSql(staticSql(login, size)),
    async openOurs(build, login, size) {
      const { createSql } = await build('postgres-js')
      return openSql(createSql(login, { max: size }) as Sql)
    },
  },
}

/** The cheapest query, so that overhead has the largest effect. */
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
