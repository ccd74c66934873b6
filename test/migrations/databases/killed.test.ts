/**
 * A process that is killed at each statement of an ORM's migration, before it is written or before it is answered, and the same migration
 * started again: it ends with the tables and rows of a run that nothing disturbed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createPool } from '../../../adapters/pg.js'
import { type CommandDatabases, DSQL_HOST, startDatabases } from '../../cli/support/databases.js'
import { contentOf } from './databases.js'

const ROOT = join(__dirname, '../../..')
const SEQUELIZE_CLI = join(ROOT, 'test/tools/node_modules/sequelize-cli/lib/sequelize')
/**
 * The statements at which processes are killed: each fifth one, and all with `PG_IAM_KILL_STEP=1`, which takes ten minutes. The step is odd, so
 * that every other one is killed before it writes.
 */
const STEP = Number(process.env['PG_IAM_KILL_STEP'] ?? 5)
/** How many processes run at the same time, each with a gateway: DDL of one makes transactions of the others fail. */
const AT_ONCE = 2

const LOGIN = `auroraDsql({ host: '${DSQL_HOST}', user: 'admin', signer: 'built-in' })`

const FILES: Readonly<Record<string, string>> = {
  // Counts what is written to the server, after its login.
  'kill.mjs': `
    import tls from 'node:tls'
    const at = Number(process.env.KILL_AT)
    const { write } = tls.TLSSocket.prototype
    let count = 0
    const die = () => process.kill(process.pid, 'SIGKILL')
    tls.TLSSocket.prototype.write = function (chunk, ...rest) {
      if (!'QP'.includes(String.fromCharCode(chunk[0])) || ++count !== at) return write.call(this, chunk, ...rest)
      if (at % 2 === 0) die()
      else return write.call(this, chunk, die)
    }`,

  'knex/run.mjs': `
    import knexOf from 'knex'
    import { auroraDsql } from 'pg-iam'
    import { knexConfig } from 'pg-iam/knex'
    const up = async (knex) => {
      await knex.schema.createTable('owners', (table) => { table.integer('id').primary(); table.string('name').index() })
      await knex('owners').insert([{ id: 1, name: 'George' }, { id: 2, name: 'Betty' }])
      await knex('owners').update({ name: knex.raw("name || '!'") })
      await knex.schema.alterTable('owners', (table) => { table.string('city').defaultTo('Madison') })
      const [added] = await knex('owners').insert({ id: 3, name: 'Eduardo' }).returning(['id', 'city'])
      await knex('owners').where({ id: added.id }).update({ city: knex.raw('city || ?', ['?']) })
      await knex.schema.alterTable('owners', (table) => { table.unique(['name', 'city']) })
    }
    const migrationSource = {
      getMigrations: async () => ['1'], getMigrationName: (name) => name, getMigration: async () => ({ up, down: async () => {} }),
    }
    const knex = knexOf(knexConfig(${LOGIN}, { dsqlMigrations: true, migrations: { migrationSource } }))
    // Knex keeps its own lock of a process that has died.
    await knex.migrate.forceFreeMigrationsLock()
    await knex.migrate.latest()
    await knex.destroy()`,

  'typeorm/run.mjs': `
    import { DataSource, Table } from 'typeorm'
    import { auroraDsql } from 'pg-iam'
    import { typeormOptions } from 'pg-iam/typeorm'
    class Owners1700000000001 {
      async up(runner) {
        await runner.createTable(new Table({
          name: 'owners',
          columns: [{ name: 'id', type: 'int', isPrimary: true }, { name: 'name', type: 'varchar', isNullable: true }],
          indices: [{ name: 'owners_name', columnNames: ['name'] }],
        }))
        await runner.query('INSERT INTO owners VALUES ($1, $2), ($3, $4)', [1, 'George', 2, 'Betty'])
        await runner.query("UPDATE owners SET name = name || '!'")
        await runner.query("ALTER TABLE owners ADD COLUMN city varchar DEFAULT 'Madison'")
        const [{ id }] = await runner.query("INSERT INTO owners (id, name) VALUES (3, 'Eduardo') RETURNING id")
        await runner.query("UPDATE owners SET city = city || '?' WHERE id = $1", [id])
        await runner.query('CREATE UNIQUE INDEX owners_both ON owners (name, city)')
      }
      async down() {}
    }
    const source = new DataSource(typeormOptions(${LOGIN}, { dsqlMigrations: true, migrations: [Owners1700000000001] }))
    await source.initialize()
    await source.runMigrations()
    await source.destroy()`,

  'sequelize/.sequelizerc': `module.exports = { config: 'config.cjs' }`,
  'sequelize/config.cjs': `
    const { auroraDsql } = require('pg-iam')
    const { sequelizeOptions } = require('pg-iam/sequelize')
    module.exports = { development: sequelizeOptions(${LOGIN}, { dsqlMigrations: true, logging: false }) }`,
  'sequelize/migrations/1-owners.cjs': `
    module.exports = {
      async up(query, { INTEGER, STRING }) {
        await query.createTable('owners', { id: { type: INTEGER, primaryKey: true }, name: STRING })
        await query.addIndex('owners', ['name'])
        await query.bulkInsert('owners', [{ id: 1, name: 'George' }, { id: 2, name: 'Betty' }])
        await query.sequelize.query("UPDATE owners SET name = name || '!'")
        await query.addColumn('owners', 'city', { type: STRING, defaultValue: 'Madison' })
        const [[{ id }]] = await query.sequelize.query("INSERT INTO owners (id, name) VALUES (3, 'Eduardo') RETURNING id")
        await query.sequelize.query("UPDATE owners SET city = city || '?' WHERE id = $1", { bind: [id] })
        await query.addIndex('owners', ['name', 'city'], { unique: true })
      },
      async down() {},
    }`,
}

const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  knex: ['run.mjs'],
  typeorm: ['run.mjs'],
  sequelize: [SEQUELIZE_CLI, 'db:migrate'],
}

let folder: string
let gateways: readonly CommandDatabases[] = []
beforeAll(async () => {
  if (!existsSync(SEQUELIZE_CLI))
    throw new Error('sequelize-cli is not installed. Run: npm install --prefix test/tools')
  mkdirSync('build', { recursive: true })
  // Within the package, so that its own name resolves as it does for a user.
  folder = mkdtempSync(join(ROOT, 'build', 'killed-'))
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  const endpoints = [{ provider: 'aurora-dsql', hosts: [DSQL_HOST] }] as const
  gateways = await Promise.all(
    Array.from({ length: AT_ONCE }, () => startDatabases({ engine: 'postgres', endpoints })),
  )
})
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.close()))
  if (folder !== undefined) rmSync(folder, { recursive: true })
})

/** Runs a migration, until its process is killed at a statement. Resolves with how it ended. */
async function migrate(tool: string, { env }: CommandDatabases, at?: number): Promise<string> {
  const preload = at === undefined ? [] : ['--import', join(folder, 'kill.mjs')]
  const child = spawn(process.execPath, [...preload, ...PROGRAMS[tool]!], {
    cwd: join(folder, tool),
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...env,
      NODE_ENV: 'development',
      KILL_AT: String(at),
    },
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return signal ?? (code === 0 ? 'done' : `${code}: ${printed}`)
}

/** Removes all that is in the database, and resolves with it, without what the ORM numbers and dates. */
async function takeContent({ gateway }: CommandDatabases): Promise<string[]> {
  const pool = createPool(gateway.login({ user: 'admin' }))
  try {
    const lines = await contentOf(async (sql) => {
      const { rows } = await pool.query<unknown[]>({ text: sql, rowMode: 'array' })
      return rows.map((row) => row.map(String))
    }, 'public')
    const { rows: tables } = await pool.query<{ name: string }>(
      `SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public'`,
    )
    for (const { name } of tables) await pool.query(`DROP TABLE "${name}" CASCADE`)
    return lines.map((line) => line.replace(/^(row (?:knex_)?migrations\w* ).*/, '$1'))
  } finally {
    await pool.end()
  }
}

describe.each(Object.keys(PROGRAMS))('a migration of %s', (tool) => {
  it('whose process is killed at any statement ends as if nothing had disturbed it', async () => {
    expect(await migrate(tool, gateways[0]!)).toBe('done')
    const expected = await takeContent(gateways[0]!)
    expect(expected.filter((line) => line.startsWith('row owners'))).toEqual([
      'row owners (1,George!,Madison)',
      'row owners (2,Betty!,Madison)',
      'row owners (3,Eduardo,Madison?)',
    ])
    let next = 1
    let isOver = false
    const killAtEach = async (gateway: CommandDatabases): Promise<void> => {
      while (!isOver) {
        const at = next
        next += STEP
        const first = await migrate(tool, gateway, at)
        if (first === 'SIGKILL') {
          expect([at, await migrate(tool, gateway)]).toEqual([at, 'done'])
        } else {
          isOver = true
          expect([at, first]).toEqual([at, 'done'])
        }
        expect([at, await takeContent(gateway)]).toEqual([at, expected])
      }
    }
    await Promise.all(gateways.map((gateway) => killAtEach(gateway).finally(() => (isOver = true))))
    // Each statement of the migration takes several of its own.
    expect(next).toBeGreaterThan(50)
  })
})
