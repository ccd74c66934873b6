/** What becomes of the transactions of ORMs' migrations on Aurora DSQL, and of rows that a half-done migration has changed. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import knexOf, { type Knex } from 'knex'
import type { Client } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { DataSource, type MigrationInterface, type QueryRunner } from 'typeorm'
import { knexConfig } from '../../../adapters/knex.js'
import { createPool } from '../../../adapters/pg.js'
import { typeormOptions } from '../../../adapters/typeorm.js'
import { type Gateway, startGateway } from '../../../gateway/index.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ engine: 'postgres' })
})
afterAll(() => gateway?.close())

async function rows(sql: string): Promise<unknown[]> {
  const pool = createPool(gateway.login({ user: 'admin' }))
  try {
    const { rows: found } = await pool.query<unknown[]>({ text: sql, rowMode: 'array' })
    return found.map((row) => (row.length === 1 ? row[0] : row))
  } finally {
    await pool.end()
  }
}

describe('TypeORM on Aurora DSQL', () => {
  const warnings: string[] = []
  const logger = {
    debug() {},
    info() {},
    error() {},
    warn: (message: string) => void warnings.push(message),
  }
  beforeEach(() => warnings.splice(0))

  /** Runs on a data source whose table of applied migrations has its own name, and ends it. */
  async function using<T>(
    name: string,
    migration: new () => MigrationInterface,
    work: (source: DataSource) => Promise<T>,
  ): Promise<T> {
    const source = new DataSource(
      typeormOptions(gateway.login({ user: 'admin', logger }), {
        dsqlMigrations: true,
        migrations: [migration],
        migrationsTableName: `of_${name}`,
      }),
    )
    await source.initialize()
    try {
      return await work(source)
    } finally {
      await source.destroy()
    }
  }

  it('undoes a migration without the argument, and says that its transaction is none', async () => {
    class Undone1700000000001 implements MigrationInterface {
      async up(runner: QueryRunner): Promise<void> {
        await runner.query('CREATE TABLE undone (id serial PRIMARY KEY, name text)')
        await runner.query('CREATE INDEX undone_name ON undone (name)')
      }
      async down(runner: QueryRunner): Promise<void> {
        await runner.dropIndex('undone', 'undone_name')
        await runner.dropTable('undone')
      }
    }
    await using('undone', Undone1700000000001, async (source) => {
      await source.runMigrations()
      expect(warnings).toEqual([])
      await source.undoLastMigration()
      expect(warnings).toEqual(['migrations: a transaction with DDL runs without a transaction'])
      expect(await source.showMigrations()).toBe(true)
    })
    expect(await rows(`SELECT to_regclass('undone') IS NULL`)).toEqual([true])
  })

  it('goes on with an undo that failed half-way', async () => {
    let last = 'DROP TABLE nothing'
    class Half1700000000001 implements MigrationInterface {
      async up(runner: QueryRunner): Promise<void> {
        await runner.query('CREATE TABLE half (id int PRIMARY KEY, name text)')
        await runner.query('CREATE INDEX half_name ON half (name)')
      }
      async down(runner: QueryRunner): Promise<void> {
        await runner.query('DROP INDEX half_name')
        await runner.query(last)
      }
    }
    await using('half', Half1700000000001, async (source) => {
      await source.runMigrations()
      const error = await rejectionOf(source.undoLastMigration())
      expect(String(error)).toMatch(/table "nothing" does not exist/)
      expect(await source.showMigrations()).toBe(false)
    })
    last = 'DROP TABLE half'
    await using('half', Half1700000000001, async (source) => {
      await source.undoLastMigration()
      expect(await source.showMigrations()).toBe(true)
    })
  })

  class Nothing1700000000001 implements MigrationInterface {
    async up(): Promise<void> {}
    async down(): Promise<void> {}
  }
  /** Begins a transaction on a data source that migrates. */
  const inTransaction = (
    name: string,
    work: (runner: QueryRunner) => Promise<void>,
  ): Promise<void> =>
    using(name, Nothing1700000000001, async (source) => {
      await source.runMigrations()
      const runner = source.createQueryRunner()
      await runner.startTransaction()
      try {
        await work(runner)
      } finally {
        await runner.release()
      }
    })

  it('is told that a transaction whose DDL has run was not rolled back', () =>
    inTransaction('kept', async (runner) => {
      await runner.query('CREATE TABLE kept (id int PRIMARY KEY)')
      const error = await rejectionOf(runner.rollbackTransaction())
      expect(String(error)).toMatch(/the DDL of the transaction has run and was not rolled back/)
      expect(await rows(`SELECT to_regclass('kept') IS NOT NULL`)).toEqual([true])
    }))

  it('is refused a change of rows in a transaction with DDL, and then all but its end', () =>
    inTransaction('mixed', async (runner) => {
      await runner.query('CREATE TABLE mixed (id int PRIMARY KEY)')
      const refused = await rejectionOf(runner.query('INSERT INTO mixed VALUES ($1)', [1]))
      expect(String(refused)).toMatch(/may change rows was sent in a transaction with DDL/)
      for (const sql of ['SELECT 1', 'CREATE TABLE mixed_too (id int PRIMARY KEY)'])
        expect(await rejectionOf(runner.query(sql))).toMatchObject({ code: '25P02' })
      await runner.rollbackTransaction()
      expect(await rows('SELECT id FROM mixed')).toEqual([])
      await runner.query('INSERT INTO mixed VALUES ($1)', [2])
      expect(await rows('SELECT id FROM mixed')).toEqual([2])
    }))

  it.each([
    ['a function of the database', 'calling', () => ({ text: 'SELECT add_row()' })],
    [
      'a prepared statement',
      'executing',
      () => ({ name: 'add', text: 'INSERT INTO added VALUES (1)' }),
    ],
  ])(
    'is refused DDL in a transaction that may have changed rows by %s, which is rolled back',
    async (_what, name, change) => {
      await rows('DROP TABLE IF EXISTS added')
      await rows('CREATE TABLE added (n int)')
      await rows(
        'CREATE OR REPLACE FUNCTION add_row() RETURNS int LANGUAGE sql AS $$ INSERT INTO added VALUES (2) RETURNING n $$',
      )
      await using(name, Nothing1700000000001, async (source) => {
        await source.runMigrations()
        const runner = source.createQueryRunner()
        const client = (await runner.connect()) as Client
        // Before the transaction, so that the server knows it.
        await client.query(change())
        await rows('DELETE FROM added')
        await client.query('BEGIN')
        await client.query(change())
        const refused = await rejectionOf(client.query('CREATE INDEX added_n ON added (n)'))
        expect(String(refused)).toMatch(/has to be rewritten .* was sent in a transaction/)
        expect(await client.query('ROLLBACK')).toMatchObject({ command: 'ROLLBACK' })
        await runner.release()
      })
      expect(await rows('SELECT n FROM added')).toEqual([])
    },
  )

  it('is refused DDL in a transaction that has changed rows, which is rolled back', async () => {
    await inTransaction('changed', async (runner) => {
      await runner.query('SELECT 1')
      await runner.query(`INSERT INTO of_changed (timestamp, name) VALUES (1, 'own')`)
      await runner.rollbackTransaction()
      await runner.query('CREATE TABLE changed (id int PRIMARY KEY)')
      await runner.startTransaction()
      await runner.query('INSERT INTO changed VALUES (1)')
      const refused = await rejectionOf(runner.query('CREATE INDEX changed_id ON changed (id)'))
      expect(String(refused)).toMatch(/has to be rewritten .* was sent in a transaction/)
      await runner.rollbackTransaction()
    })
    expect(await rows('SELECT id FROM changed')).toEqual([])
    expect(await rows('SELECT name FROM of_changed')).toEqual(['Nothing1700000000001'])
  })
})

/** Calls `work` with a connection of Knex's pool, as Knex's own client does. */
async function onConnection(knex: Knex, work: (client: Client) => Promise<unknown>): Promise<void> {
  const { client } = knex as unknown as {
    client: {
      acquireConnection(): Promise<Client>
      releaseConnection(connection: Client): Promise<void>
    }
  }
  const connection = await client.acquireConnection()
  try {
    await work(connection)
  } finally {
    await client.releaseConnection(connection)
  }
}

describe('rows that a half-done migration has changed', () => {
  /** Runs a migration that fails at its end, and then the same one without that end. */
  async function twice(
    name: string,
    up: (knex: Knex, told: (reply: unknown) => void) => Promise<void>,
  ): Promise<unknown[][]> {
    const replies: unknown[][] = []
    for (const fails of [true, false]) {
      const told: unknown[] = []
      replies.push(told)
      const migrationSource = {
        getMigrations: async () => [name],
        getMigrationName: (one: string) => one,
        getMigration: async () => ({
          async up(knex: Knex) {
            await up(knex, (reply) => told.push(reply))
            if (fails) await knex.raw('ALTER TABLE nothing ADD COLUMN name text')
          },
          down: async () => {},
        }),
      }
      const knex = knexOf(
        knexConfig(gateway.login({ user: 'admin' }), {
          dsqlMigrations: true,
          migrations: { migrationSource, tableName: `of_${name}` },
        }),
      )
      try {
        if (fails) await rejectionOf(knex.migrate.latest())
        else await knex.migrate.latest()
      } finally {
        await knex.destroy()
      }
    }
    return replies
  }

  it('are not changed again, and the migration is told what it was told before', async () => {
    const replies = await twice('replayed', async (knex, told) => {
      await knex.raw('CREATE TABLE replayed (id serial PRIMARY KEY, n int)')
      told(await knex('replayed').insert([{ n: 1 }, { n: 2 }], ['id']))
      told(await knex('replayed').update({ n: knex.raw('n * 10') }))
      await knex.raw('ALTER TABLE replayed ADD COLUMN name text')
      await knex.raw(
        `INSERT INTO replayed (n, name) VALUES (3, 'three'); DELETE FROM replayed WHERE n = 20`,
      )
    })
    expect(replies[0]).toEqual([[{ id: '1' }, { id: '2' }], 2])
    expect(replies[1]).toEqual(replies[0])
    expect(await rows('SELECT n, name FROM replayed ORDER BY n')).toEqual([
      [3, 'three'],
      [10, null],
    ])
    expect(await rows("SELECT scope FROM pg_iam_migrations WHERE scope LIKE 'knex%'")).toEqual([])
  })

  it('are changed again by what follows a query with another result', async () => {
    await twice('reread', async (knex) => {
      await knex.raw('CREATE TABLE reread (n int)')
      await knex('reread').insert({ n: 1 })
      await knex('reread').count()
      await knex('reread').insert({ n: 9 })
    })
    // The second run counts a row more, and may be about to do something else.
    expect(await rows('SELECT n FROM reread ORDER BY n')).toEqual([1, 9, 9])
  })

  it('are changed also if they are as many as a transaction may change', async () => {
    await twice('many', async (knex) => {
      await knex.raw('CREATE TABLE many (n int)')
      await knex.raw('INSERT INTO many SELECT generate_series(1, 3000)')
    })
    expect(await rows('SELECT count(*)::int FROM many')).toEqual([6_000])
  })

  it('are changed again with all that is in one text with SET, so that later statements find its setting', async () => {
    await twice('setting', async (knex) => {
      await knex.raw('CREATE SCHEMA elsewhere')
      await knex.raw('CREATE TABLE elsewhere.setting (n int)')
      await knex.raw('CREATE TABLE setting (n int)')
      await knex.raw('SET search_path = elsewhere, public; INSERT INTO setting VALUES (1)')
      await knex.raw('INSERT INTO setting VALUES (2)')
      await knex.raw('SET search_path = public')
    })
    expect(await rows('SELECT n FROM public.setting')).toEqual([])
    expect(await rows('SELECT DISTINCT n FROM elsewhere.setting ORDER BY n')).toEqual([1, 2])
  })

  it('are changed again by a prepared statement with a name, which the server then knows', async () => {
    await twice('named', async (knex) => {
      await knex.raw('CREATE TABLE named (n int)')
      await onConnection(knex, async (client) => {
        for (const n of [1, 2])
          await client.query({ name: 'i', text: 'INSERT INTO named VALUES ($1)', values: [n] })
      })
    })
    expect(await rows('SELECT n FROM named ORDER BY n')).toEqual([1, 1, 2, 2])
  })

  it('are loaded by a COPY in one text with an INSERT', async () => {
    await twice('copied', async (knex) => {
      await knex.raw('CREATE TABLE copied (n int)')
      await onConnection(knex, (client) =>
        pipeline(
          Readable.from(['2\n']),
          client.query(copyFrom('INSERT INTO copied VALUES (1); COPY copied FROM STDIN')),
        ),
      )
    })
    expect(await rows('SELECT DISTINCT n FROM copied ORDER BY n')).toEqual([1, 2])
  })

  it('are all changed by statements that run at the same time on several connections', async () => {
    const migrations = {
      tableName: 'of_concurrent',
      migrationSource: {
        getMigrations: async () => ['1'],
        getMigrationName: (one: string) => one,
        getMigration: async () => ({
          async up(knex: Knex) {
            for (const name of ['concurrent', 'beside'])
              await knex.raw(`CREATE TABLE ${name} (n int, m int)`)
            await Promise.all([
              knex.raw('CREATE INDEX beside_n ON beside (n)'),
              knex.raw('CREATE INDEX beside_m ON beside (m)'),
              knex.transaction(async (own) => {
                for (const n of [1, 2, 3]) await own('concurrent').insert({ n })
              }),
              ...[4, 4, 4].map((n) => knex('concurrent').insert({ n })),
            ])
          },
          down: async () => {},
        }),
      },
    }
    const login = gateway.login({ user: 'admin' })
    const knex = knexOf(
      knexConfig(login, { dsqlMigrations: true, migrations, pool: { min: 0, max: 4 } }),
    )
    await knex.migrate.latest()
    await knex.destroy()
    expect(await rows('SELECT n FROM concurrent ORDER BY n')).toEqual([1, 2, 3, 4, 4, 4])
  })

  it('go on in the same instance after an error of the migration itself', async () => {
    let fails = true
    const migrationSource = {
      getMigrations: async () => ['1'],
      getMigrationName: (one: string) => one,
      getMigration: async () => ({
        async up(knex: Knex) {
          await knex.raw('CREATE TABLE same (n int)')
          await knex('same').insert({ n: 1 })
          if (fails) throw new Error('not yet')
        },
        down: async () => {},
      }),
    }
    const login = gateway.login({ user: 'admin' })
    const migrations = { migrationSource, tableName: 'of_same' }
    const knex = knexOf(knexConfig(login, { dsqlMigrations: true, migrations }))
    expect(await rejectionOf(knex.migrate.latest())).toMatchObject({ message: 'not yet' })
    fails = false
    expect(await knex.migrate.latest()).toEqual([1, ['1']])
    await knex.destroy()
    expect(await rows('SELECT n FROM same')).toEqual([1])
  })

  it('begin with the first migration, also if an application has looked at the applied ones in a transaction', async () => {
    const migrationSource = {
      getMigrations: async () => ['1'],
      getMigrationName: (one: string) => one,
      getMigration: async () => ({
        up: async (knex: Knex) => void (await knex.raw('CREATE TABLE looked (n int)')),
        down: async () => {},
      }),
    }
    const login = gateway.login({ user: 'admin' })
    const migrations = { migrationSource, tableName: 'of_looked' }
    const instance = (): Knex => knexOf(knexConfig(login, { dsqlMigrations: true, migrations }))
    const first = instance()
    await first.migrate.currentVersion()
    await first.destroy()
    const knex = instance()
    const left = knex.transaction(async (own) => {
      await own('of_looked').select()
      throw new Error('rolled back')
    })
    expect(await rejectionOf(left)).toMatchObject({ message: 'rolled back' })
    expect(await knex.migrate.latest()).toEqual([1, ['1']])
    await knex.destroy()
  })

  it('are not what an application writes with the instance after its migrations, the same at each start', async () => {
    const migrationSource = {
      getMigrations: async () => ['1'],
      getMigrationName: (one: string) => one,
      getMigration: async () => ({
        up: async (knex: Knex) => void (await knex.raw('CREATE TABLE started (n int)')),
        down: async () => {},
      }),
    }
    const login = gateway.login({ user: 'admin' })
    const migrations = { migrationSource, tableName: 'of_started' }
    for (let start = 0; start < 3; start++) {
      const knex = knexOf(knexConfig(login, { dsqlMigrations: true, migrations }))
      await knex.migrate.latest()
      await knex('started').insert({ n: 1 })
      await knex.destroy()
    }
    expect(await rows('SELECT n FROM started')).toEqual([1, 1, 1])
  })

  it('are those of the migration alone: a failure is told as it is, and nothing of it stays', async () => {
    await twice('failing', async (knex, told) => {
      await knex.raw('CREATE TABLE failing (n int PRIMARY KEY)')
      await knex('failing').insert({ n: 1 })
      const failed = await rejectionOf(
        Promise.resolve(knex('failing').insert([{ n: 2 }, { n: 1 }])),
      )
      expect(failed).toMatchObject({ code: '23505' })
      told(await knex('failing').insert({ n: 3 }))
    })
    expect(await rows('SELECT n FROM failing ORDER BY n')).toEqual([1, 3])
  })
})
