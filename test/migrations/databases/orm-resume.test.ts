/** Migrations of ORMs that failed half-way, and are run again: what is skipped, what is run, and what is refused. */
import knexOf, { type Knex } from 'knex'
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

async function rows(text: string): Promise<unknown[]> {
  const pool = createPool(gateway.login({ user: 'admin' }))
  try {
    const { rows: found } = await pool.query<unknown[]>({ text, rowMode: 'array' })
    return found.map((row) => (row.length === 1 ? row[0] : row))
  } finally {
    await pool.end()
  }
}

type Work = (knex: Knex, run: number) => PromiseLike<unknown>
interface Files {
  readonly up: Work
  readonly down?: Work
}

/** Knex with these migrations, its own tables, and connections as they are needed. */
function open(name: string, files: readonly Files[], run: number): Knex {
  const migrationSource = {
    getMigrations: async () => files.map((_, index) => `${index + 1}`),
    getMigrationName: (one: string) => one,
    getMigration: async (one: string) => {
      const { up, down } = files[Number(one) - 1]!
      return {
        up: async (knex: Knex) => void (await up(knex, run)),
        down: async (knex: Knex) => void (await down?.(knex, run)),
      }
    },
  }
  const migrations = { migrationSource, tableName: `of_${name}` }
  return knexOf({
    ...knexConfig(gateway.login({ user: 'admin' }), { dsqlMigrations: true, migrations }),
    pool: { min: 0, max: 4 },
    log: { warn() {}, error() {}, debug() {} },
  })
}

/** Runs it in a new instance. Resolves with the names, or with the error. */
async function migrate(name: string, up: Work, run: number): Promise<unknown> {
  const knex = open(name, [{ up }], run)
  try {
    return (await knex.migrate.latest())[1]
  } catch (error) {
    return String(error)
  } finally {
    await knex.destroy()
  }
}

/** The migration fails here in its first run. */
function failFirst(run: number): void {
  if (run === 1) throw new Error('the first run fails')
}

const columnsOf = (table: string): Promise<unknown[]> =>
  rows(
    `SELECT column_name::text FROM information_schema.columns WHERE table_name = '${table}' ORDER BY ordinal_position`,
  )

describe('a half-done migration of Knex that is run again', () => {
  it('creates again what it drops first, if it drops it because it is there', async () => {
    const up: Work = async (knex, run) => {
      if (await knex.schema.hasTable('anew')) await knex.schema.dropTable('anew')
      await knex.schema.createTable('anew', (table) => table.integer('id').primary())
      await knex('anew').insert({ id: 1 })
      failFirst(run)
    }
    expect(await migrate('anew', up, 1)).toMatch(/the first run fails/)
    expect(await migrate('anew', up, 2)).toEqual(['1'])
    expect(await rows('SELECT id FROM anew')).toEqual([1])
  })

  it('adds a column again that it drops first', async () => {
    const up: Work = async (knex, run) => {
      if (run === 1) await knex.raw('CREATE TABLE again (id int PRIMARY KEY, b int)')
      else await knex.schema.hasTable('again')
      if (await knex.schema.hasColumn('again', 'b'))
        await knex.raw('ALTER TABLE again DROP COLUMN b')
      await knex.raw('ALTER TABLE again ADD COLUMN b int')
      failFirst(run)
    }
    expect(await migrate('again', up, 1)).toMatch(/the first run fails/)
    expect(await migrate('again', up, 2)).toEqual(['1'])
    expect(await columnsOf('again')).toEqual(['id', 'b'])
  })

  it('finishes a statement whose first steps have run, also if it leaves it out because the column is there', async () => {
    const up: Work = async (knex) => {
      if (!(await knex.schema.hasTable('steps'))) {
        await knex.raw('CREATE TABLE steps (id int PRIMARY KEY)')
        await knex('steps').insert({ id: 1 })
      }
      if (!(await knex.schema.hasColumn('steps', 'a')))
        await knex.schema.alterTable('steps', (table) => void table.integer('a').notNullable())
    }
    // The row has no value: the check cannot be validated, until somebody gives it one.
    expect(await migrate('steps', up, 1)).toMatch(/steps_a_not_null/)
    expect(await migrate('steps', up, 2)).toMatch(
      /steps_a_not_null.*An earlier run has begun the statement/s,
    )
    await rows('UPDATE steps SET a = 2')
    expect(await migrate('steps', up, 3)).toEqual(['1'])
    expect(
      await rows(`SELECT convalidated FROM pg_constraint WHERE conname = 'steps_a_not_null'`),
    ).toEqual([true])
  })

  it('keeps its place after an error that it has caught, and changes no row twice', async () => {
    const up: Work = async (knex, run) => {
      await knex.raw('CREATE TABLE caught (id int)')
      await knex.raw('DROP INDEX nothing').catch(() => {})
      await knex('caught').insert({ id: 1 })
      await knex.raw('CREATE TABLE caught_2 (id int)')
      failFirst(run)
    }
    expect(await migrate('caught', up, 1)).toMatch(/the first run fails/)
    expect(await migrate('caught', up, 2)).toEqual(['1'])
    expect(await rows('SELECT id FROM caught')).toEqual([1])
  })

  it('keeps its place when all its connections have ended in between', async () => {
    const up: Work = async (knex) => {
      await knex.raw('CREATE TABLE idle (id int)')
      for (const { processId } of gateway.faults.sessions()) gateway.faults.killSession(processId)
      for (;;) {
        const isThere = await knex.raw('SELECT 1').then(
          () => true,
          () => false,
        )
        if (isThere) break
      }
      await knex.raw('CREATE TABLE idle_2 (id int)')
    }
    expect(await migrate('idle', up, 1)).toEqual(['1'])
  })

  it('takes statements that run at the same time in any order', async () => {
    const up: Work = async (knex, run) => {
      await Promise.all(
        ['par_a', 'par_b', 'par_c'].map((name) =>
          knex.schema.createTable(name, (table) => {
            table.increments()
            table.string('name').index()
          }),
        ),
      )
      failFirst(run)
    }
    expect(await migrate('par', up, 1)).toMatch(/the first run fails/)
    expect(await migrate('par', up, 2)).toEqual(['1'])
  })

  it('takes statements in another order after it has read, and keeps all of them in the ledger', async () => {
    const up: Work = async (knex, run) => {
      await knex.raw('SELECT 1 AS one')
      const names = run === 1 ? ['order_a', 'order_b'] : ['order_b', 'order_a', 'order_d']
      for (const name of names) await knex.raw(`CREATE TABLE ${name} (id int)`)
      if (run < 3) throw new Error('not yet')
    }
    expect(await migrate('order', up, 1)).toMatch(/not yet/)
    expect(await migrate('order', up, 2)).toMatch(/not yet/)
    expect(await migrate('order', up, 3)).toEqual(['1'])
  })

  it('has read, also if its query is in parentheses', async () => {
    const up: Work = async (knex, run) => {
      const { rows: found } = (await knex.raw(
        `(SELECT to_regclass('parens')::text AS name) UNION (SELECT NULL)`,
      )) as { rows: { name: string | null }[] }
      if (!found.some(({ name }) => name !== null)) await knex.raw('CREATE TABLE parens (id int)')
      await knex.raw('CREATE TABLE parens_2 (id int)')
      failFirst(run)
    }
    expect(await migrate('parens', up, 1)).toMatch(/the first run fails/)
    expect(await migrate('parens', up, 2)).toEqual(['1'])
  })

  it('is not noted if a statement that has run was removed from it', async () => {
    const up: Work = async (knex, run) => {
      if (run === 1) await knex.raw('CREATE TABLE removed (id int)')
      if (run === 1) await knex.raw('ALTER TABLE nothing ADD COLUMN id int')
    }
    expect(await migrate('removed', up, 1)).toMatch(/"nothing" does not exist/)
    expect(await migrate('removed', up, 2)).toMatch(
      /has run in part before.*It was: CREATE TABLE removed.*DELETE FROM/s,
    )
  })

  it('is still known when its note in the table of applied migrations failed', async () => {
    const up: Work = async (knex, run) => {
      if (run === 1)
        await knex.raw('ALTER TABLE of_noted ADD CONSTRAINT no CHECK (batch > 9) NOT VALID')
      await knex.raw('CREATE TABLE noted (id int)')
    }
    expect(await migrate('noted', up, 1)).toMatch(/violates check constraint "no"/)
    await rows('ALTER TABLE of_noted DROP CONSTRAINT no')
    const only: Work = async (knex) => {
      await knex.raw('SELECT 1')
      await knex.raw('CREATE TABLE noted (id int)')
    }
    expect(await migrate('noted', only, 2)).toEqual(['1'])
  })

  it('keeps the migration before it from being undone', async () => {
    const files: Files[] = [
      {
        up: (knex) => knex.raw('CREATE TABLE back_1 (id int)'),
        async down(knex) {
          if (await knex.schema.hasTable('back_1')) await knex.schema.dropTable('back_1')
        },
      },
      {
        async up(knex, run) {
          await knex.raw('CREATE TABLE back_2 (id int)')
          failFirst(run)
        },
      },
    ]
    const first = open('back', files, 1)
    await rejectionOf(first.migrate.latest())
    const error = await rejectionOf(first.migrate.rollback())
    expect(String(error)).toMatch(/has run in part before.*It was: CREATE TABLE back_2/s)
    await first.destroy()
  })
})

it('a lease that another deployer has taken over is acquired again at the next look', async () => {
  const knex = open('taken', [{ up: (own) => own.raw('CREATE TABLE taken (id int)') }], 1)
  try {
    await knex.migrate.currentVersion()
    await rows(
      `UPDATE pg_iam_migrations_lease SET holder = 'another', expires_at = now() - interval '1 day'`,
    )
    expect((await knex.migrate.latest())[1]).toEqual(['1'])
  } finally {
    await knex.destroy()
  }
})

it('TypeORM goes on in the same data source after an error of the migration itself, and changes no row twice', async () => {
  let fails = true
  class Same1700000000001 implements MigrationInterface {
    async up(runner: QueryRunner): Promise<void> {
      await runner.query('CREATE TABLE same (id int)')
      await runner.query('INSERT INTO same VALUES (1)')
      if (fails) throw new Error('not yet')
    }
    async down(): Promise<void> {}
  }
  const source = new DataSource(
    typeormOptions(gateway.login({ user: 'admin' }), {
      dsqlMigrations: true,
      migrations: [Same1700000000001],
      migrationsTableName: 'of_same',
    }),
  )
  await source.initialize()
  try {
    await expect(source.runMigrations()).rejects.toThrow('not yet')
    fails = false
    expect(await source.runMigrations()).toHaveLength(1)
    expect(await rows('SELECT id FROM same')).toEqual([1])
  } finally {
    await source.destroy()
  }
})

it('a transaction with DDL is over for the driver after an error of any statement', async () => {
  const knex = open('over', [{ up: async () => {} }], 1)
  try {
    await knex.migrate.latest()
    const transaction = await knex.transaction()
    await transaction.raw('CREATE TABLE over_1 (id int)')
    expect(String(await rejectionOf(transaction.raw('SELECT nothing')))).toMatch(/nothing/)
    expect(String(await rejectionOf(transaction.raw('SELECT 1')))).toMatch(/aborted/)
    await transaction.rollback()
  } finally {
    await knex.destroy()
  }
})
