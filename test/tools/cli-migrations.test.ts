/**
 * Migration tools through `pg-iam exec`, by the `DATABASE_URL` that it gives them: on RDS and Azure, where all works, and on Aurora DSQL,
 * where each is refused in the words of the service, and works by the way out that docs/cli.md names.
 */
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { createClient } from '../../adapters/pg.js'
import { type Ended, runCommand, startCommand } from '../cli/support/command.js'
import {
  type CommandDatabases,
  DSQL_HOST,
  ENTRA_URL,
  entraEndpoint,
  DSQL_URL,
  RDS_HOST,
  RDS_URL,
  startDatabases,
} from '../cli/support/databases.js'
import { eventually } from '../support/eventually.js'
import { type EntraIssuer, startEntraIssuer } from '../support/issuers/entra-issuer.js'
import { type ManagedIdentity, startManagedIdentity } from '../support/issuers/managed-identity.js'
import { requirePrograms } from './programs.js'

const ROOT = join(__dirname, '../..')
/** Within the repository, so that the tools find its packages. */
const FOLDER = join(ROOT, 'build/exec')
const OF_TOOLS = join(ROOT, 'test/tools/node_modules')

const PROGRAMS = {
  'sequelize-cli': join(OF_TOOLS, 'sequelize-cli/lib/sequelize'),
  typeorm: join(ROOT, 'node_modules/typeorm/cli.js'),
  knex: join(ROOT, 'node_modules/knex/bin/cli.js'),
  'node-pg-migrate': join(OF_TOOLS, 'node-pg-migrate/bin/node-pg-migrate.js'),
  'drizzle-kit': join(OF_TOOLS, 'drizzle-kit/bin.cjs'),
} as const
type Tool = keyof typeof PROGRAMS

/** The projects, each in the folder of its tool. */
const FILES: Readonly<Record<string, string>> = {
  'package.json': '{ "private": true, "type": "module" }',

  'sequelize-cli/config/config.js': `
    export default { development: { use_env_variable: 'DATABASE_URL', dialect: 'postgres' } }`,
  'sequelize-cli/migrations/1-table.cjs': `
    exports.up = (query, { INTEGER }) => query.createTable('by_sequelize', { id: { type: INTEGER, primaryKey: true } })
    exports.down = (query) => query.dropTable('by_sequelize')`,
  'sequelize-cli/refused/1-index.cjs': `
    exports.up = (query) => query.addIndex('by_sequelize', ['id'])
    exports.down = () => {}`,

  'typeorm/data-source.js': `
    import 'reflect-metadata'
    import { DataSource } from 'typeorm'
    export default new DataSource({ type: 'postgres', url: process.env.DATABASE_URL, migrations: ['migrations/*.js'] })`,
  'typeorm/migrations/1-table.js': `
    export class Table1700000000000 {
      up(runner) { return runner.query('CREATE TABLE by_typeorm (id int PRIMARY KEY)') }
      down(runner) { return runner.query('DROP TABLE by_typeorm') }
    }`,

  'knex/knexfile.js': `
    export default { client: 'pg', connection: process.env.DATABASE_URL, migrations: { directory: './migrations' } }`,
  'knex/migrations/1_table.js': `
    export const up = (knex) => knex.schema.createTable('by_knex', (table) => { table.integer('id').primary() })
    export const down = (knex) => knex.schema.dropTable('by_knex')`,

  'node-pg-migrate/migrations/1700000000000_table.js': `
    export const up = (pgm) => { pgm.createTable('by_node_pg_migrate', { id: { type: 'int', primaryKey: true } }) }
    export const down = (pgm) => { pgm.dropTable('by_node_pg_migrate') }`,
  'node-pg-migrate/without-transaction/1700000000000_table.js': `
    export const up = (pgm) => {
      pgm.noTransaction()
      pgm.createTable('by_node_pg_migrate', { id: { type: 'int', primaryKey: true } })
    }
    export const down = (pgm) => {
      pgm.noTransaction()
      pgm.dropTable('by_node_pg_migrate')
    }`,

  'drizzle-kit/schema.js': drizzleSchema('migrated', '() => []'),
  'drizzle-kit/drizzle.config.js': drizzleConfig('schema.js', 'migrated'),
  'drizzle-kit/pushed.js': drizzleSchema('pushed', '() => []'),
  'drizzle-kit/push.config.js': drizzleConfig('pushed.js', 'pushed'),
  'drizzle-kit/indexed.js': drizzleSchema('indexed', "(t) => [index('by_title').on(t.title)]"),
  'drizzle-kit/index.config.js': drizzleConfig('indexed.js', 'indexed'),
}

/** A table in a schema of its own: `push` drops what it finds in a schema beside the tables of the project. */
function drizzleSchema(schema: string, indexes: string): string {
  return `
    import { index, integer, pgSchema, text } from 'drizzle-orm/pg-core'
    export const own = pgSchema('${schema}')
    export const note = own.table('by_drizzle', { id: integer().primaryKey(), title: text() }, ${indexes})`
}

function drizzleConfig(file: string, schema: string): string {
  return `
    import { defineConfig } from 'drizzle-kit'
    export default defineConfig({
      dialect: 'postgresql', schema: './${file}', out: './${schema}', schemaFilter: ['${schema}'],
      dbCredentials: { url: process.env.DATABASE_URL },
    })`
}

/** One gateway each, because the tools' tables have the same names. */
let rds: CommandDatabases
let dsql: CommandDatabases
let azure: CommandDatabases
let issuer: EntraIssuer
let identity: ManagedIdentity

beforeAll(async () => {
  for (const [name, program] of Object.entries(PROGRAMS))
    if (!existsSync(program))
      throw new Error(
        `${name} is not installed. Run: npm install --prefix test/tools --ignore-scripts`,
      )
  requirePrograms('/usr/bin/psql')
  rmSync(FOLDER, { recursive: true, force: true })
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(FOLDER, name)), { recursive: true })
    writeFileSync(join(FOLDER, name), text)
  }
  // drizzle-kit is not among the packages of the repository.
  mkdirSync(join(FOLDER, 'node_modules'))
  symlinkSync(join(OF_TOOLS, 'drizzle-kit'), join(FOLDER, 'node_modules/drizzle-kit'))
  issuer = await startEntraIssuer()
  identity = await startManagedIdentity(issuer, () => ({}))
  ;[rds, dsql, azure] = await Promise.all([
    startDatabases({ endpoints: [{ provider: 'rds', hosts: [RDS_HOST] }] }),
    startDatabases({ endpoints: [{ provider: 'aurora-dsql', hosts: [DSQL_HOST] }] }),
    // The first one is for the tests themselves, which have no identity of Azure.
    startDatabases({
      endpoints: [{ provider: 'rds', hosts: [RDS_HOST] }, entraEndpoint(issuer)],
    }),
  ])
})
afterAll(async () => {
  await Promise.all([rds?.close(), dsql?.close(), azure?.close()])
  await Promise.all([identity?.close(), issuer?.close()])
})

interface Place {
  readonly name: string
  readonly url: string
  readonly databases: () => Pick<CommandDatabases, 'env' | 'gateway'>
}

const RDS: Place = { name: 'RDS', url: RDS_URL, databases: () => rds }
const AZURE: Place = {
  name: 'Azure',
  url: ENTRA_URL,
  databases: () => ({
    gateway: azure.gateway,
    env: {
      ...azure.env,
      ...identity.env,
      AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential',
    },
  }),
}
const DSQL: Place = { name: 'Aurora DSQL', url: DSQL_URL, databases: () => dsql }

/** Runs a tool in its folder. */
const exec = ({ url, databases }: Place, tool: Tool, ...words: string[]): Promise<Ended> =>
  runCommand(['exec', url, '--', process.execPath, PROGRAMS[tool], ...words], {
    cwd: join(FOLDER, tool),
    env: databases().env,
  })
/** All that a tool has printed, without the colours. */
const printed = ({ stdout, stderr }: Ended): string =>
  stripVTControlCharacters(`${stdout}${stderr}`)

async function query(place: Place, ...statements: string[]): Promise<unknown[]> {
  const client = createClient(place.databases().gateway.login({ user: 'app' }))
  await client.connect()
  try {
    let rows: unknown[] = []
    for (const statement of statements)
      ({ rows } = (await client.query(statement)) as { rows: unknown[] })
    return rows
  } finally {
    await client.end()
  }
}
const exists = async (place: Place, table: string): Promise<boolean> => {
  const [row] = await query(place, `SELECT to_regclass('${table}') IS NOT NULL AS exists`)
  return (row as { exists: boolean }).exists
}

/** A migration of one table, and its end. */
async function migratesAndReverts(
  place: Place,
  tool: Tool,
  { up, down, table }: { up: string[]; down: string[]; table: string },
): Promise<void> {
  const migrated = await exec(place, tool, ...up)
  expect([migrated.code, printed(migrated)]).toEqual([0, expect.any(String)])
  expect(await exists(place, table)).toBe(true)
  const reverted = await exec(place, tool, ...down)
  expect([reverted.code, printed(reverted)]).toEqual([0, expect.any(String)])
  expect(await exists(place, table)).toBe(false)
}

const COMMANDS = {
  'sequelize-cli': { up: ['db:migrate'], down: ['db:migrate:undo'], table: 'by_sequelize' },
  typeorm: {
    up: ['migration:run', '-d', 'data-source.js'],
    down: ['migration:revert', '-d', 'data-source.js'],
    table: 'by_typeorm',
  },
  knex: { up: ['migrate:latest'], down: ['migrate:rollback'], table: 'by_knex' },
  'node-pg-migrate': { up: ['up'], down: ['down'], table: 'by_node_pg_migrate' },
}

describe.each([RDS, AZURE])('through exec, on $name', (place) => {
  it.each(Object.entries(COMMANDS))('%s migrates and reverts', (tool, commands) =>
    migratesAndReverts(place, tool as Tool, commands),
  )
})

/** The statements of docs/cli.md for the tables of the tools, by their names. */
const TABLES = new Map(
  [
    ...readFileSync(join(ROOT, 'docs/cli.md'), 'utf8').matchAll(/^CREATE TABLE (\w+) [^;]+;$/gm),
  ].map(([statement, name = '']) => [name, statement]),
)

describe('through exec, on Aurora DSQL', () => {
  it('sequelize-cli migrates and reverts, and an index is refused in the words of the service', async () => {
    await migratesAndReverts(DSQL, 'sequelize-cli', COMMANDS['sequelize-cli'])
    await query(DSQL, 'CREATE TABLE by_sequelize (id int PRIMARY KEY)')
    const refused = await exec(DSQL, 'sequelize-cli', 'db:migrate', '--migrations-path', 'refused')
    expect(refused.code).toBe(1)
    expect(printed(refused)).toContain('unsupported mode. please use CREATE INDEX ASYNC.')
  })

  it.each([
    ['typeorm', { own: ['migrations'], flags: ['--transaction', 'none'] }],
    [
      'knex',
      { own: ['knex_migrations', 'knex_migrations_lock'], flags: ['--disable-transactions'] },
    ],
    [
      'node-pg-migrate',
      { own: ['pgmigrations'], flags: ['--migrations-dir', 'without-transaction'] },
    ],
  ] as const)(
    '%s is refused its own table and its transaction in the words of the service, and works without them',
    async (tool, { own, flags }) => {
      const { up, down, table } = COMMANDS[tool]
      const withoutTable = await exec(DSQL, tool, ...up)
      expect([withoutTable.code, printed(withoutTable)]).toEqual([
        1,
        expect.stringContaining('type "serial" does not exist'),
      ])
      await query(DSQL, ...own.map((name) => TABLES.get(name)!))
      const inTransaction = await exec(DSQL, tool, ...up)
      expect([inTransaction.code, printed(inTransaction)]).toEqual([
        1,
        expect.stringContaining('ddl and dml are not supported in the same transaction'),
      ])
      await migratesAndReverts(DSQL, tool, {
        up: [...up, ...flags],
        down: [...down, ...flags],
        table,
      })
    },
  )
})

describe.each([RDS, AZURE, DSQL])('drizzle-kit through exec, on $name', (place) => {
  it('generates a migration, and runs it or has psql run it', async () => {
    rmSync(join(FOLDER, 'drizzle-kit/migrated'), { recursive: true, force: true })
    expect((await exec(place, 'drizzle-kit', 'generate', '--name', 'note')).code).toBe(0)
    const migrated = await exec(place, 'drizzle-kit', 'migrate')
    if (place === DSQL) {
      // It prints no reason: the type of a column of its own table is refused.
      expect([migrated.code, await exists(place, 'migrated.by_drizzle')]).toEqual([1, false])
      const own = 'CREATE TABLE drizzle.__drizzle_migrations (id SERIAL PRIMARY KEY)'
      await expect(query(place, own)).rejects.toThrow('type "serial" does not exist')
      const { code, stderr } = await psqlFile(place, 'migrated/0000_note.sql')
      expect([code, stderr]).toEqual([0, ''])
    } else expect([migrated.code, printed(migrated)]).toEqual([0, expect.any(String)])
    expect(await exists(place, 'migrated.by_drizzle')).toBe(true)
  })

  it('pushes a table, and pulls it', async () => {
    const config = ['--config', 'push.config.js']
    // It ends with 0 when it fails, too.
    const pushed = await exec(place, 'drizzle-kit', 'push', '--force', ...config)
    expect(printed(pushed)).toContain('Changes applied')
    rmSync(join(FOLDER, 'drizzle-kit/pushed'), { recursive: true, force: true })
    const pulled = await exec(place, 'drizzle-kit', 'pull', ...config)
    expect([pulled.code, printed(pulled)]).toEqual([0, expect.any(String)])
    const schema = readFileSync(join(FOLDER, 'drizzle-kit/pushed/schema.ts'), 'utf8')
    expect(schema).toMatch(
      /pushed\.table\("by_drizzle", \{\s+id: integer\(\)\.primaryKey\(\)\.notNull\(\)/,
    )
  })

  it('has Studio query the catalogs and the rows', async () => {
    const port = await freePort()
    const words = ['studio', '--host', '127.0.0.1', '--port', String(port)]
    const studio = startCommand(
      ['exec', place.url, '--', process.execPath, PROGRAMS['drizzle-kit'], ...words],
      { cwd: join(FOLDER, 'drizzle-kit'), env: place.databases().env },
    )
    const ask = async (sql: string, params: unknown[] = []): Promise<unknown> => {
      const body = JSON.stringify({
        type: 'proxy',
        data: { sql, params, mode: 'array', method: 'all' },
      })
      const headers = { 'content-type': 'application/json' }
      const response = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', headers, body })
      return response.json()
    }
    try {
      await studio.printed(/up and running/)
      await eventually('Studio to answer', () =>
        ask('SELECT 1').then(
          () => true,
          () => false,
        ),
      )
      await query(place, 'CREATE TABLE by_studio (id int PRIMARY KEY, title text DEFAULT $$none$$)')
      expect(await ask(STUDIO_COLUMNS, ['by_studio'])).toEqual([
        ['public', 'by_studio', 'id', 'integer', true, null, 'p'],
        ['public', 'by_studio', 'title', 'text', false, "'none'::text", null],
      ])
      await ask('INSERT INTO by_studio (id) VALUES ($1), ($2)', [1, 2])
      expect(await ask('SELECT * FROM by_studio ORDER BY id LIMIT $1 OFFSET $2', [50, 1])).toEqual([
        [2, 'none'],
      ])
    } finally {
      await studio.stop()
    }
  })
})

/**
 * What Studio shows of a table, from the catalogs that it needs for that. The page of Studio, which is not in drizzle-kit, has its own text; it
 * comes to the same route of the local server.
 */
const STUDIO_COLUMNS = `
  SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
    pg_catalog.pg_get_expr(d.adbin, d.adrelid), k.contype
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND a.attnum = ANY (k.conkey) AND k.contype = 'p'
  WHERE c.relname = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`

describe('an index of drizzle-kit, on Aurora DSQL', () => {
  it('is refused in the words of the service, and built from the generated file with ASYNC', async () => {
    const config = ['--config', 'index.config.js']
    const pushed = await exec(DSQL, 'drizzle-kit', 'push', '--force', ...config)
    expect(printed(pushed)).toContain('USING not supported for CREATE INDEX')
    await query(DSQL, 'DROP SCHEMA indexed CASCADE')
    await exec(DSQL, 'drizzle-kit', 'generate', '--name', 'indexed', ...config)
    const file = join(FOLDER, 'drizzle-kit/indexed/0000_indexed.sql')
    const generated = readFileSync(file, 'utf8')
    writeFileSync(
      file,
      generated.replaceAll('CREATE INDEX', 'CREATE INDEX ASYNC').replaceAll(' USING btree', ''),
    )
    const { code, stdout } = await psqlFile(DSQL, 'indexed/0000_indexed.sql')
    expect([code, stdout]).toEqual([0, expect.stringContaining('job_id')])
  })
})

const psqlFile = ({ url, databases }: Place, file: string): Promise<Ended> =>
  runCommand(['exec', url, '--', '/usr/bin/psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', file], {
    cwd: join(FOLDER, 'drizzle-kit'),
    env: databases().env,
  })

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
