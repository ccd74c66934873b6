/** The migrations of ORMs, run by their own commands' code, against the gateway as Aurora DSQL. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Client, type ClientConfig } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import knexOf, { type Knex } from 'knex'
import { Kysely, Migrator as KyselyMigrator } from 'kysely'
import { Sequelize, DataTypes, type QueryInterface } from 'sequelize'
import { DataSource, type MigrationInterface, type QueryRunner, Table } from 'typeorm'
import { drizzleClient, drizzleMigrate } from '../../../adapters/drizzle.js'
import {
  drizzleClient as drizzleOnPostgresJs,
  drizzleMigrate as migrateOnPostgresJs,
} from '../../../adapters/drizzle-postgres-js.js'
import { knexConfig } from '../../../adapters/knex.js'
import { kyselyDialect } from '../../../adapters/kysely.js'
import { createPool } from '../../../adapters/pg.js'
import { sequelizeOptions } from '../../../adapters/sequelize.js'
import { typeormOptions } from '../../../adapters/typeorm.js'
import { type Login, rds } from '../../../core/index.js'
import { type Gateway, startGateway } from '../../../gateway/index.js'

let gateway: Gateway
let login: Login
beforeAll(async () => {
  gateway = await startGateway({ engine: 'postgres' })
  login = gateway.login({ user: 'admin' })
})
afterAll(() => gateway?.close())

/** The indexes of a table, and its constraints. */
async function schemaOf(table: string): Promise<unknown> {
  const pool = createPool(login)
  const { rows } = await pool.query<{ name: string }>(
    `SELECT c.relname::text || ' ' || i.indisvalid::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = $1::regclass UNION ALL
     SELECT conname::text || ' ' || convalidated::text FROM pg_constraint WHERE conrelid = $1::regclass AND contype IN ('f', 'c') ORDER BY 1`,
    [table],
  )
  await pool.end()
  return rows.map(({ name }) => name)
}

describe('Knex', () => {
  const migrations: Record<
    string,
    { up(knex: Knex): PromiseLike<unknown>; down(knex: Knex): PromiseLike<unknown> }
  > = {
    '1_owners': {
      up: (knex) =>
        knex.schema.createTable('knex_owners', (table) => {
          table.increments('id')
          table.string('name').notNullable()
          table.index(['name'], 'knex_owners_name')
        }),
      down: (knex) => knex.schema.dropTable('knex_owners'),
    },
    '2_pets': {
      up: async (knex) => {
        await knex.schema.createTable('knex_pets', (table) => {
          table.increments('id')
          table.bigInteger('owner_id').references('id').inTable('knex_owners')
          table.string('name').unique()
        })
        await knex('knex_owners').insert({ name: 'George' })
      },
      down: (knex) => knex.schema.dropTable('knex_pets'),
    },
  }
  const migrationSource = {
    getMigrations: async () => Object.keys(migrations),
    getMigrationName: (name: string) => name,
    getMigration: async (name: string) => migrations[name]!,
  }

  it('migrates with its own tables, rewritten DDL and no transactions, and rolls back', async () => {
    const knex = knexOf(
      knexConfig(login, { dsqlMigrations: true, migrations: { migrationSource } }),
    )
    try {
      expect(await knex.migrate.latest()).toEqual([1, ['1_owners', '2_pets']])
      expect(await schemaOf('knex_owners')).toEqual([
        'knex_owners_name true',
        'knex_owners_pkey true',
      ])
      expect(await knex('knex_owners').select('name')).toEqual([{ name: 'George' }])
      expect(await knex.migrate.latest()).toEqual([1, []])
      expect(await knex.migrate.rollback()).toEqual([1, ['2_pets', '1_owners']])
      expect(await knex.schema.hasTable('knex_pets')).toBe(false)
    } finally {
      await knex.destroy()
    }
  })
})

describe('a migration of Knex', () => {
  /** As if the files were corrected in between. */
  const latest = async (
    up: (knex: Knex) => PromiseLike<unknown>,
    name: string,
  ): Promise<unknown> => {
    const migrationSource = {
      getMigrations: async () => [name],
      getMigrationName: (one: string) => one,
      getMigration: async () => ({ up, down: async () => {} }),
    }
    const tableName = `of_${name}`
    const knex = knexOf(
      knexConfig(login, { dsqlMigrations: true, migrations: { migrationSource, tableName } }),
    )
    try {
      return await knex.migrate.latest()
    } catch (error) {
      return error
    } finally {
      await knex.destroy()
    }
  }

  it('that broke half-way goes on where it stopped, once it is corrected', async () => {
    const first = (knex: Knex) =>
      knex.schema.createTable('resumed', (table) => table.integer('id').primary())
    const failed = await latest(async (knex) => {
      await first(knex)
      await knex.raw('ALTER TABLE resumed ADD COLUMN name nothing')
    }, 'resume')
    expect(String(failed)).toMatch(/type "nothing" does not exist/)
    const done = await latest(async (knex) => {
      await first(knex)
      await knex.raw('ALTER TABLE resumed ADD COLUMN name text')
    }, 'resume')
    expect(done).toEqual([1, ['resume']])
  })

  it('that was changed where it had run is refused', async () => {
    await latest(async (knex) => {
      await knex.raw('CREATE TABLE changed (id int PRIMARY KEY)')
      await knex.raw('CREATE TABLE changed (id int PRIMARY KEY)')
    }, 'changed')
    const again = await latest(async (knex) => {
      await knex.raw('CREATE TABLE changed (id bigint PRIMARY KEY)')
    }, 'changed')
    expect(String(again)).toMatch(/statement 1 of the migration .* has changed since it ran/)
  })

  it('goes on if it leaves out what has run because of what it has read', async () => {
    const migrate = (last: string): Promise<unknown> =>
      latest(async (knex) => {
        if (!(await knex.schema.hasTable('kept')))
          await knex.raw('CREATE TABLE kept (id int PRIMARY KEY)')
        await knex.raw('ALTER TABLE kept ADD COLUMN name text')
        if (!(await knex.schema.hasColumn('kept', 'city')))
          await knex.raw('ALTER TABLE kept ADD COLUMN city text')
        await knex.raw(last)
      }, 'kept')
    expect(String(await migrate('ALTER TABLE nothing ADD COLUMN name text'))).toMatch(/nothing/)
    expect(await migrate('ALTER TABLE kept ADD COLUMN street text')).toEqual([1, ['kept']])
    const pool = createPool(login)
    const { rows } = await pool.query<{ name: string }>(
      `SELECT column_name::text AS name FROM information_schema.columns WHERE table_name = 'kept' ORDER BY ordinal_position`,
    )
    await pool.end()
    expect(rows.map(({ name }) => name)).toEqual(['id', 'name', 'city', 'street'])
  })

  it('is refused with the remedy where it cannot be rewritten', async () => {
    const refused = await latest(
      (knex) => knex.raw('CREATE TABLE refused (tags text[])'),
      'refused',
    )
    expect(String(refused)).toMatch(/array.*\. Use a table with one row for each element, or jsonb/)
  })

  it('goes on after its connection was lost, at whichever statement', async () => {
    for (let at = 1; at <= 6; at++) {
      let seen = 0
      const logger = {
        debug() {},
        warn() {},
        error() {},
        /** Called for each statement that is rewritten, and while a job runs. */
        info() {
          if (++seen !== at) return
          for (const { processId } of gateway.faults.sessions())
            gateway.faults.killSession(processId)
        },
      }
      const table = `lost_${at}`
      const migrate = async (): Promise<unknown> => {
        const migrationSource = {
          getMigrations: async () => ['1'],
          getMigrationName: (one: string) => one,
          getMigration: async () => ({
            async up(knex: Knex) {
              await knex.raw(`CREATE TABLE ${table} (id serial PRIMARY KEY, name text)`)
              await knex.raw(`CREATE INDEX ${table}_name ON ${table} (name)`)
              await knex.raw(`ALTER TABLE ${table} ADD COLUMN city text DEFAULT 'Madison'`)
              await knex.raw(`CREATE UNIQUE INDEX ${table}_city ON ${table} (city)`)
            },
            down: async () => {},
          }),
        }
        const knex = knexOf(
          knexConfig(gateway.login({ user: 'admin', logger }), {
            dsqlMigrations: true,
            migrations: { migrationSource, tableName: `of_${table}` },
          }),
        )
        try {
          return await knex.migrate.latest()
        } finally {
          await knex.destroy()
        }
      }
      const first = await migrate().catch((error: unknown) => error)
      if (first instanceof Error) {
        // Knex keeps its own lock of a process that has died.
        const pool = createPool(login)
        await pool.query(`UPDATE of_${table}_lock SET is_locked = 0`).catch(() => {})
        await pool.end()
        await migrate()
      }
      expect([seen >= at, await schemaOf(table)]).toEqual([
        true,
        [`${table}_city true`, `${table}_name true`, `${table}_pkey true`],
      ])
    }
  })

  it('runs once if several processes start it at the same time', async () => {
    const up = async (knex: Knex) => {
      await knex.raw('CREATE TABLE raced (id int PRIMARY KEY, name text)')
      await knex.raw('CREATE INDEX raced_name ON raced (name)')
    }
    const results = await Promise.all(Array.from({ length: 4 }, () => latest(up, 'race')))
    expect(results.filter((one) => JSON.stringify(one) === '[1,["race"]]')).toHaveLength(1)
    expect(results.filter((one) => JSON.stringify(one) === '[1,[]]')).toHaveLength(3)
  })
})

describe('TypeORM', () => {
  class Owners1700000000001 implements MigrationInterface {
    async up(runner: QueryRunner): Promise<void> {
      await runner.createTable(
        new Table({
          name: 'typeorm_owners',
          columns: [
            { name: 'id', type: 'uuid', isPrimary: true, default: 'gen_random_uuid()' },
            { name: 'name', type: 'varchar', isNullable: false },
          ],
          indices: [{ name: 'typeorm_owners_name', columnNames: ['name'] }],
        }),
      )
    }
    async down(runner: QueryRunner): Promise<void> {
      await runner.dropTable('typeorm_owners')
    }
  }
  class Pets1700000000002 implements MigrationInterface {
    async up(runner: QueryRunner): Promise<void> {
      await runner.query(
        `CREATE TABLE typeorm_pets (id SERIAL PRIMARY KEY, owner uuid, CONSTRAINT pets_owner FOREIGN KEY (owner) REFERENCES typeorm_owners (id))`,
      )
      await runner.query(`ALTER TABLE typeorm_pets ADD COLUMN kind varchar NOT NULL DEFAULT 'cat'`)
      await runner.query(`CREATE UNIQUE INDEX typeorm_pets_kind ON typeorm_pets USING btree (kind)`)
    }
    async down(runner: QueryRunner): Promise<void> {
      await runner.query('DROP TABLE typeorm_pets')
    }
  }

  it('migrates, and undoes the last migration', async () => {
    const source = new DataSource(
      typeormOptions(login, {
        dsqlMigrations: true,
        migrations: [Owners1700000000001, Pets1700000000002],
      }),
    )
    await source.initialize()
    try {
      const run = await source.runMigrations()
      expect(run.map(({ name }) => name)).toEqual(['Owners1700000000001', 'Pets1700000000002'])
      expect(await schemaOf('typeorm_pets')).toEqual(
        expect.arrayContaining(['pets_owner true', 'typeorm_pets_kind true']),
      )
      await source.undoLastMigration({ transaction: 'none' })
      expect(await source.showMigrations()).toBe(true)
    } finally {
      await source.destroy()
    }
  })
})

describe('Sequelize', () => {
  it('creates tables and indexes by its query interface, and by sync()', async () => {
    const sequelize = new Sequelize(
      sequelizeOptions(login, { dsqlMigrations: true, logging: false }),
    )
    try {
      const interface_: QueryInterface = sequelize.getQueryInterface()
      await interface_.createTable('sequelize_owners', {
        id: { type: DataTypes.BIGINT, primaryKey: true, autoIncrement: true },
        name: { type: DataTypes.STRING, allowNull: false },
      })
      await interface_.addIndex('sequelize_owners', ['name'])
      await interface_.addColumn('sequelize_owners', 'city', {
        type: DataTypes.STRING,
        defaultValue: 'Madison',
      })
      const Pet = sequelize.define(
        'sequelize_pet',
        { name: DataTypes.STRING },
        { timestamps: false, indexes: [{ fields: ['name'], unique: true }] },
      )
      await sequelize.sync()
      await sequelize.sync()
      expect(await Pet.create({ name: 'Leo' })).toMatchObject({ name: 'Leo' })
      expect(await schemaOf('sequelize_owners')).toEqual([
        'sequelize_owners_name true',
        'sequelize_owners_pkey true',
      ])
    } finally {
      await sequelize.close()
    }
  })
})

describe('Kysely', () => {
  it('migrates without its advisory lock', async () => {
    const db = new Kysely<unknown>({ dialect: kyselyDialect(login, { dsqlMigrations: true }) })
    const provider = {
      getMigrations: async () => ({
        '1': {
          up: async (on: Kysely<unknown>) => {
            await on.schema
              .createTable('kysely_owners')
              .addColumn('id', 'serial', (column) => column.primaryKey())
              .addColumn('name', 'varchar(80)')
              .execute()
            await on.schema
              .createIndex('kysely_owners_name')
              .on('kysely_owners')
              .column('name')
              .execute()
          },
          down: async (on: Kysely<unknown>) => {
            await on.schema.dropTable('kysely_owners').execute()
          },
        },
      }),
    }
    try {
      const migrator = new KyselyMigrator({ db, provider })
      const { error, results } = await migrator.migrateToLatest()
      expect([error, results?.map(({ status }) => status)]).toEqual([undefined, ['Success']])
      expect(await schemaOf('kysely_owners')).toEqual([
        'kysely_owners_name true',
        'kysely_owners_pkey true',
      ])
      expect((await migrator.migrateDown()).error).toBeUndefined()
    } finally {
      await db.destroy()
    }
  })
})

describe('drizzleMigrate', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'pg-iam-drizzle-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it.each([
    ['pg', drizzleClient, drizzleMigrate],
    ['Postgres.js', drizzleOnPostgresJs, migrateOnPostgresJs],
  ] as const)('runs the files of drizzle-kit on %s', async (client, open, migrate) => {
    const table = `drizzle_${client.length}`
    const migrationsFolder = join(folder, table)
    mkdirSync(join(migrationsFolder, 'meta'), { recursive: true })
    writeFileSync(
      join(migrationsFolder, '0000_owners.sql'),
      `CREATE TABLE "${table}" ("id" serial PRIMARY KEY NOT NULL, "name" text);
--> statement-breakpoint
CREATE INDEX "${table}_name" ON "${table}" USING btree ("name");`,
    )
    const entries = [{ idx: 0, version: '7', when: 1, tag: '0000_owners', breakpoints: true }]
    writeFileSync(
      join(migrationsFolder, 'meta/_journal.json'),
      JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
    )
    const db = open(login)
    const options = { migrationsFolder, table: `ledger_${client.length}` }
    try {
      const done = await migrate(db as never, options)
      expect(done.map(({ name }) => name)).toEqual(['0000_owners'])
      expect(await migrate(db as never, options)).toEqual([])
      expect(await schemaOf(table)).toEqual([`${table}_name true`, `${table}_pkey true`])
    } finally {
      await db.$client.end()
    }
  })
})

describe('dsqlMigrations', () => {
  it('passes on what only mentions DDL, such as COPY and large results', async () => {
    const { connection } = knexConfig(login, { dsqlMigrations: true })
    const client = new Client(connection as ClientConfig)
    await client.connect()
    try {
      await client.query('CREATE TABLE copied (id int PRIMARY KEY, comment text)')
      const copy = client.query(copyFrom('COPY copied (id, comment) FROM STDIN /* create */'))
      await pipeline(Readable.from(['1\tdrop\n2\talter\n']), copy)
      const { rows } = await client.query<{ comment: string }>(
        `SELECT comment, 'drop table' AS word FROM copied ORDER BY id`,
      )
      expect(rows.map(({ comment }) => comment)).toEqual(['drop', 'alter'])
      await expect(client.query('SELECT create')).rejects.toMatchObject({ code: '42601' })
    } finally {
      await client.end()
    }
  })

  it.each([
    ['knexConfig', (one: Login) => knexConfig(one, { dsqlMigrations: true })],
    ['kyselyDialect', (one: Login) => kyselyDialect(one, { dsqlMigrations: true })],
    ['sequelizeOptions', (one: Login) => sequelizeOptions(one, { dsqlMigrations: true })],
    ['typeormOptions', (one: Login) => typeormOptions(one, { dsqlMigrations: true })],
  ])('of %s is refused for another provider', (_name, make) => {
    const other = rds({ host: 'db.c1a2b3c4d5e6.us-east-1.rds.amazonaws.com', user: 'app' })
    expect(() => make(other)).toThrow('"dsqlMigrations" is for Aurora DSQL')
  })

  it('is refused with transactions of the client', () => {
    expect(() =>
      knexConfig(login, { dsqlMigrations: true, migrations: { disableTransactions: false } }),
    ).toThrow('"migrations.disableTransactions" must be true')
    expect(() =>
      typeormOptions(login, { dsqlMigrations: true, migrationsTransactionMode: 'all' }),
    ).toThrow('"migrationsTransactionMode" must be "none"')
  })
})
