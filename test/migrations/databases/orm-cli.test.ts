/** The command lines of TypeORM and Knex with the configuration and migration files that people have, against the gateway as Aurora DSQL. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify, stripVTControlCharacters } from 'node:util'
import { createPool } from '../../../adapters/pg.js'
import { type CommandDatabases, DSQL_HOST, startDatabases } from '../../cli/support/databases.js'

const run = promisify(execFile)
const ROOT = join(__dirname, '../../..')
const CLIS = {
  typeorm: join(ROOT, 'node_modules/typeorm/cli.js'),
  knex: join(ROOT, 'node_modules/knex/bin/cli.js'),
} as const

const LOGIN = `
  import { auroraDsql } from 'pg-iam'
  const login = auroraDsql({ host: '${DSQL_HOST}', user: 'admin', signer: 'built-in' })`

const FILES: Readonly<Record<string, string>> = {
  'typeorm/data-source.js': dataSource(`entities: [Owner, Pet], migrations: ['migrations/*.js']`),
  'typeorm/shadowed.js': dataSource(
    `entities: [Owner, Pet], schema: 'public', extra: { options: '-c search_path=shadow,pg_catalog,public' }`,
  ),
  'typeorm/synchronized.js': dataSource('entities: [Visit]'),
  'typeorm/grown.js': dataSource('entities: [Grown]'),
  'typeorm/checked.js': dataSource('entities: [Checked]'),
  'typeorm/serial.js': dataSource('entities: [Bill]'),
  'typeorm/entities.js': `
    import { EntitySchema } from 'typeorm'
    export const Owner = new EntitySchema({
      name: 'Owner',
      tableName: 'owner',
      columns: {
        id: { type: 'uuid', primary: true, generated: 'uuid' },
        email: { type: 'varchar', length: 120, unique: true },
        name: { type: 'varchar' },
        nickname: { type: 'text', nullable: true },
        city: { type: 'varchar', default: 'Madison' },
        active: { type: 'boolean', default: true },
        visits: { type: 'integer', default: 0 },
        balance: { type: 'numeric', precision: 12, scale: 2, default: 0 },
        createdAt: { type: 'timestamptz', createDate: true },
      },
      indices: [{ name: 'owner_name', columns: ['name'] }, { columns: ['city', 'name'], unique: true }],
      relations: { pets: { type: 'one-to-many', target: 'Pet', inverseSide: 'owner' } },
    })
    export const Pet = new EntitySchema({
      name: 'Pet',
      tableName: 'pet',
      columns: {
        id: { type: 'bigint', primary: true, generated: 'identity', generatedIdentity: 'BY DEFAULT' },
        name: { type: 'varchar', length: 80 },
        born: { type: 'date', nullable: true },
      },
      relations: {
        owner: { type: 'many-to-one', target: 'Owner', inverseSide: 'pets', onDelete: 'CASCADE', joinColumn: true },
      },
    })
    const visit = (place, checks) => new EntitySchema({
      name: 'Visit',
      tableName: 'visit',
      columns: {
        id: { type: 'bigint', primary: true, generated: 'identity', generatedIdentity: 'BY DEFAULT' },
        reason: { type: 'varchar', default: 'vaccination' },
        ...place,
      },
      indices: [{ columns: ['reason'] }],
      checks,
    })
    export const Visit = visit({})
    export const Grown = visit({ place: { type: 'varchar', default: 'Madison' } })
    export const Checked = visit(
      { place: { type: 'varchar', default: 'Madison', nullable: true } },
      [{ name: 'visit_place_not_null', expression: 'place IS NOT NULL' }],
    )
    export const Bill = new EntitySchema({
      name: 'Bill',
      tableName: 'bill',
      columns: { id: { type: 'int', primary: true, generated: 'increment' } },
    })`,
  'knex/knexfile.js': `${LOGIN}
    import { knexConfig } from 'pg-iam/knex'
    export default knexConfig(login, { dsqlMigrations: true })`,
  'knex/migrations/1_owners.js': `
    export const up = (knex) => knex.schema.createTable('knex_owners', (table) => {
      table.increments('id')
      table.string('name').notNullable().unique()
      table.timestamps(true, true)
    })
    export const down = (knex) => knex.schema.dropTable('knex_owners')`,
  'knex/migrations/2_city.js': `
    export const up = async (knex) => {
      await knex('knex_owners').insert({ name: 'George' })
      await knex.schema.alterTable('knex_owners', (table) => {
        table.string('city').notNullable().defaultTo('Madison').index()
      })
    }
    export const down = (knex) => knex.schema.alterTable('knex_owners', (table) => { table.dropColumn('city') })`,
  'knex/ddl/3_pets.js': `
    export const up = (knex) => knex.schema.createTable('knex_pets', (table) => {
      table.increments('id')
      table.string('name').index()
    })
    export const down = (knex) => knex.schema.dropTable('knex_pets')`,
  'knex/seeds/owners.js': `
    export const seed = async (knex) => {
      await knex('knex_owners').del()
      await knex('knex_owners').insert([{ name: 'Betty' }, { name: 'Eduardo' }])
    }`,
}

function dataSource(options: string): string {
  return `${LOGIN}
    import { DataSource } from 'typeorm'
    import { typeormOptions } from 'pg-iam/typeorm'
    import { Bill, Checked, Grown, Owner, Pet, Visit } from './entities.js'
    export default new DataSource(typeormOptions(login, { dsqlMigrations: true, ${options} }))`
}

let databases: CommandDatabases
let folder: string
beforeAll(async () => {
  databases = await startDatabases()
  mkdirSync('build', { recursive: true })
  // Within the package, so that its own name resolves as it does for a user.
  folder = mkdtempSync(join(ROOT, 'build', 'orm-cli-'))
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  mkdirSync(join(folder, 'typeorm/migrations'))
})
afterAll(async () => {
  await databases?.close()
  if (folder !== undefined) rmSync(folder, { recursive: true })
})

/** All that a command has printed, also if it fails: then with its code in front. */
const cli = async (tool: keyof typeof CLIS, ...words: string[]): Promise<string> => {
  const env = { ...process.env, ...databases.env, NODE_ENV: 'development' }
  const printed = ({ stdout, stderr }: { stdout: string; stderr: string }): string =>
    stripVTControlCharacters(`${stdout}${stderr}`)
  try {
    return printed(
      await run(process.execPath, [CLIS[tool], ...words], { cwd: join(folder, tool), env }),
    )
  } catch (error) {
    const failed = error as Error & { code: unknown; stdout: string; stderr: string }
    return `${String(failed.code)}: ${printed(failed)}`
  }
}

const rows = async (sql: string): Promise<unknown[]> => {
  const pool = createPool(databases.gateway.login({ user: 'admin' }))
  try {
    const { rows: found } = await pool.query<unknown[]>({ text: sql, rowMode: 'array' })
    return found.map((row) => (row.length === 1 ? row[0] : row))
  } finally {
    await pool.end()
  }
}

/** The name of the only file in a folder. */
const onlyFile = (place: string): string => {
  const names = readdirSync(join(folder, place))
  expect(names).toHaveLength(1)
  return join(folder, place, names[0]!)
}

describe('typeorm on Aurora DSQL', () => {
  const data = ['-d', 'data-source.js']
  const again = ['migration:generate', 'migrations/again', '-o', '--esm']

  it('generates a migration, runs it, finds nothing that differs afterwards, and reverts it', async () => {
    expect(
      await cli('typeorm', 'migration:generate', 'migrations/clinic', '-o', '--esm', ...data),
    ).toMatch(/generated successfully/)
    const file = onlyFile('typeorm/migrations')
    // Aurora DSQL has all columns in the index of a primary key, and says so.
    const generated = readFileSync(file, 'utf8')
    writeFileSync(
      file,
      generated.replace('PRIMARY KEY ("id"))', 'PRIMARY KEY ("id") INCLUDE ("name"))'),
    )

    expect(await cli('typeorm', 'migration:show', ...data)).toMatch(/\[ \] Clinic/)
    expect(await cli('typeorm', 'migration:run', ...data)).toMatch(/executed successfully/)
    expect(await cli('typeorm', 'migration:show', ...data)).toMatch(/\[X\] 1 Clinic/)
    expect(await cli('typeorm', ...again, ...data)).toMatch(/^1: No changes in database schema/)
    expect(await cli('typeorm', 'migration:run', ...data)).toMatch(/No migrations are pending/)
    expect(await cli('typeorm', 'migration:revert', ...data)).toMatch(/reverted successfully/)
    expect(await cli('typeorm', 'migration:show', ...data)).toMatch(/\[ \] Clinic/)
    expect(
      await rows(`SELECT to_regclass('owner') IS NULL AND to_regclass('pet') IS NULL`),
    ).toEqual([true])
  })

  it('finds nothing that differs where the catalog has the index types of Aurora DSQL', async () => {
    const pool = createPool(databases.gateway.login({ user: 'admin' }))
    await pool.query('CREATE SCHEMA shadow')
    await pool.query(`CREATE VIEW shadow.pg_am AS SELECT oid, CASE amname WHEN 'btree' THEN 'btree_index' ELSE amname::text END AS amname
      FROM pg_catalog.pg_am`)
    await pool.end()
    expect(await cli('typeorm', 'migration:run', ...data)).toMatch(/executed successfully/)
    expect(await cli('typeorm', ...again, '-d', 'shadowed.js')).toMatch(
      /^1: No changes in database/,
    )
  })

  it('synchronizes a schema, once and again', async () => {
    const synchronized = ['-d', 'synchronized.js']
    expect(await cli('typeorm', 'schema:sync', ...synchronized)).toMatch(/finished successfully/)
    expect(await cli('typeorm', 'schema:sync', ...synchronized)).toMatch(/finished successfully/)
    expect(await cli('typeorm', 'schema:log', ...synchronized)).toMatch(/schema is up to date/)
    expect(await rows('INSERT INTO visit DEFAULT VALUES RETURNING reason')).toEqual(['vaccination'])
  })

  it('adds a column that is not null with a check, and finds no difference to an entity with that check', async () => {
    expect(await cli('typeorm', 'schema:sync', '-d', 'grown.js')).toMatch(/finished successfully/)
    expect(await cli('typeorm', 'schema:log', '-d', 'grown.js')).toMatch(
      /DROP CONSTRAINT "visit_place_not_null";\s+ALTER TABLE "visit" ALTER COLUMN "place" SET NOT NULL;/,
    )
    expect(await cli('typeorm', 'schema:log', '-d', 'checked.js')).toMatch(/schema is up to date/)
  })

  it('finds that the id of an integer differs, which Aurora DSQL only has as bigint', async () => {
    expect(await cli('typeorm', 'schema:sync', '-d', 'serial.js')).toMatch(/finished successfully/)
    expect(await cli('typeorm', 'schema:log', '-d', 'serial.js')).toMatch(
      /ALTER TABLE "bill" ADD "id" SERIAL NOT NULL/,
    )
  })
})

describe('knex on Aurora DSQL', () => {
  it('migrates, lists, seeds, and rolls back', async () => {
    const flag = '--disable-transactions'
    expect(await cli('knex', 'migrate:latest', flag)).toMatch(/Batch 1 run: 2 migrations/)
    expect(await cli('knex', 'migrate:latest', flag)).toMatch(/Already up to date/)
    expect(await cli('knex', 'migrate:list')).toMatch(/2 Completed[^]*No Pending/)
    expect(await rows('SELECT name, city FROM knex_owners')).toEqual([['George', 'Madison']])
    expect(await cli('knex', 'seed:run')).toMatch(/Ran 1 seed files/)
    expect(await rows('SELECT name FROM knex_owners ORDER BY 1')).toEqual(['Betty', 'Eduardo'])
    expect(await cli('knex', 'migrate:down', flag)).toMatch(/2_city\.js/)
    expect(await cli('knex', 'migrate:rollback', flag)).toMatch(/Batch 1 rolled back: 1 migrations/)
    expect(await cli('knex', 'migrate:list')).toMatch(/No Completed[^]*2 Pending/)
  })

  it('runs migrations of DDL without the flag, too', async () => {
    const ddl = ['--migrations-directory', 'ddl']
    expect(await cli('knex', 'migrate:up', ...ddl)).toMatch(/3_pets\.js/)
    expect(await cli('knex', 'migrate:rollback', ...ddl)).toMatch(
      /Batch 1 rolled back: 1 migrations/,
    )
    expect(await rows('SELECT is_locked FROM knex_migrations_lock')).toEqual([0])
  })

  it('refuses to change rows in a transaction with DDL, and goes on with the flag', async () => {
    expect(await cli('knex', 'migrate:latest')).toMatch(
      /^1: [^]*a statement that may change rows was sent in a transaction with DDL/,
    )
    expect(await rows('SELECT name FROM knex_migrations')).toEqual(['1_owners.js'])
    expect(await rows('SELECT is_locked FROM knex_migrations_lock')).toEqual([0])
    expect(await cli('knex', 'migrate:latest', '--disable-transactions')).toMatch(/1 migrations/)
    expect(await rows('SELECT name, city FROM knex_owners')).toEqual([['George', 'Madison']])
  })
})
