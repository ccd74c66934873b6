/** The configuration files of docs/tools.md, read by the tools that they are for. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { startReadmeDatabases, type ReadmeDatabases } from '../support/readme/readme-databases.js'

const run = promisify(execFile)
const root = join(__dirname, '../..')
// Within the package, so that its own name resolves as it does for a user.
const folder = join(root, 'build', 'tools')
const page = readFileSync(join(root, 'docs/tools.md'), 'utf8')
const HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'

/** What the application has beside its configuration: a migration for each tool, which makes a table of its own. */
const MIGRATIONS: Readonly<Record<string, string>> = {
  'migrations/1-sequelize.cjs': `
    exports.up = (query, { INTEGER }) => query.createTable('by_sequelize', { id: { type: INTEGER, primaryKey: true } })`,
  'typeorm/migrations/1-typeorm.js': `
    export class Note1700000000000 {
      up(runner) { return runner.query('CREATE TABLE by_typeorm (id int PRIMARY KEY)') }
      down(runner) { return runner.query('DROP TABLE by_typeorm') }
    }`,
  'knex/migrations/1-knex.js': `
    export const up = (knex) => knex.schema.createTable('by_knex', (table) => { table.integer('id').primary() })
    export const down = (knex) => knex.schema.dropTable('by_knex')`,
  'drizzle/drizzle/0000_note.sql': 'CREATE TABLE by_drizzle_kit (id int PRIMARY KEY);',
  'drizzle/drizzle/meta/_journal.json': journal(1),
  'migrator/drizzle/0000_note.sql': 'CREATE TABLE by_migrator (id int PRIMARY KEY);',
  'migrator/drizzle/meta/_journal.json': journal(2),
}

/** Drizzle runs what is newer than the last migration in the database. */
function journal(when: number): string {
  const entries = [{ idx: 0, version: '7', when, tag: '0000_note', breakpoints: true }]
  return JSON.stringify({ version: '7', dialect: 'postgresql', entries })
}

interface Tool {
  readonly name: string
  /** Where its files are. */
  readonly place: string
  readonly program: string
  readonly parameters: readonly string[]
  /** The table that its migration makes. */
  readonly table: string
}

const OF_TOOLS = 'test/tools/node_modules'
const TOOLS: readonly Tool[] = [
  {
    name: 'sequelize-cli',
    place: '.',
    program: `${OF_TOOLS}/sequelize-cli/lib/sequelize`,
    parameters: ['db:migrate'],
    table: 'by_sequelize',
  },
  {
    name: 'typeorm',
    place: 'typeorm',
    program: 'node_modules/typeorm/cli.js',
    parameters: ['migration:run', '-d', 'data-source.js'],
    table: 'by_typeorm',
  },
  {
    name: 'knex',
    place: 'knex',
    program: 'node_modules/knex/bin/cli.js',
    parameters: ['migrate:latest'],
    table: 'by_knex',
  },
  {
    name: 'drizzle-kit',
    place: 'drizzle',
    program: `${OF_TOOLS}/drizzle-kit/bin.cjs`,
    parameters: ['migrate'],
    table: 'by_drizzle_kit',
  },
  {
    name: "Drizzle's migrator",
    place: 'migrator',
    program: 'build/tools/migrator/migrate.js',
    parameters: [],
    table: 'by_migrator',
  },
]

const FOLDERS: Readonly<Record<string, string>> = {
  'config/config.js': '.',
  'data-source.js': 'typeorm',
  'knexfile.js': 'knex',
  'token.js': 'drizzle',
  'drizzle.config.js': 'drizzle',
  'migrate.js': 'migrator',
}

let databases: ReadmeDatabases

beforeAll(async () => {
  for (const { name, program } of TOOLS) {
    if (program.startsWith(OF_TOOLS) && !existsSync(join(root, program)))
      throw new Error(
        `${name} is not installed. Run: npm install --prefix test/tools --ignore-scripts`,
      )
  }
  rmSync(folder, { recursive: true, force: true })
  const blocks = [...page.matchAll(/^```js (\S+)\n([\s\S]*?)^```$/gm)]
  expect(blocks.map(([, name = '']) => name)).toEqual(Object.keys(FOLDERS))
  const files = [
    ...Object.entries(MIGRATIONS),
    ...blocks.map(([, name = '', code = '']) => [join(FOLDERS[name]!, name), code] as const),
  ]
  for (const [name, text] of files) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  // drizzle-kit is not among the packages of the repository.
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(
    join(root, 'test/tools/node_modules/drizzle-kit'),
    join(folder, 'node_modules/drizzle-kit'),
  )
  // The migrations of these tools use what Aurora DSQL does not have.
  databases = await startReadmeDatabases(folder, 'postgres')
})

afterAll(() => databases?.close())

describe('a configuration file of docs/tools.md', () => {
  it.each(TOOLS)(
    'has $name migrate the database with tokens',
    async ({ place, program, parameters, table }) => {
      const preload = join(root, 'test/support/readme/databases-on-loopback.cjs')
      const env = {
        ...databases.env,
        PGHOST: HOST,
        PGUSER: 'admin',
        NODE_OPTIONS: `--require ${preload}`,
        NODE_EXTRA_CA_CERTS: databases.env['PGSSLROOTCERT'],
        NODE_ENV: 'production',
      }
      await run(process.execPath, [join(root, program), ...parameters], {
        cwd: join(folder, place),
        env,
      })
      const client = new Client({
        host: '127.0.0.1',
        port: Number(databases.env['GATEWAY_PORT']),
        user: 'app',
        password: 'of the broker',
        database: 'postgres',
        ssl: { ca: readFileSync(join(folder, 'ca.pem'), 'utf8'), servername: 'db.example.com' },
      })
      await client.connect()
      const { rows } = await client.query('SELECT to_regclass($1)::text AS made', [
        `public.${table}`,
      ])
      await client.end()
      expect(rows).toEqual([{ made: table }])
    },
    120_000,
  )
})
