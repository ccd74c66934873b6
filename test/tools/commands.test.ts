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
  'drizzle/drizzle/0000_drizzle.sql': 'CREATE TABLE by_drizzle (id int PRIMARY KEY);',
  'drizzle/drizzle/meta/_journal.json': JSON.stringify({
    version: '7',
    dialect: 'postgresql',
    entries: [{ idx: 0, version: '7', when: 1, tag: '0000_drizzle', breakpoints: true }],
  }),
}

/** Each tool: where its files are, how it is called, and the table that its migration makes. */
const TOOLS = [
  [
    'sequelize-cli',
    '.',
    'test/tools/node_modules/sequelize-cli/lib/sequelize',
    'db:migrate',
    'by_sequelize',
  ],
  [
    'typeorm',
    'typeorm',
    'node_modules/typeorm/cli.js',
    'migration:run -d data-source.js',
    'by_typeorm',
  ],
  ['knex', 'knex', 'node_modules/knex/bin/cli.js', 'migrate:latest', 'by_knex'],
  [
    'drizzle-kit',
    'drizzle',
    'test/tools/node_modules/drizzle-kit/bin.cjs',
    'migrate',
    'by_drizzle',
  ],
] as const

const FOLDERS: Readonly<Record<string, string>> = {
  'config/config.js': '.',
  'data-source.js': 'typeorm',
  'knexfile.js': 'knex',
  'token.js': 'drizzle',
  'drizzle.config.js': 'drizzle',
}

let databases: ReadmeDatabases

beforeAll(async () => {
  for (const [tool, , program] of TOOLS) {
    if (!existsSync(join(root, program)))
      throw new Error(
        `${tool} is not installed. Run: npm install --prefix test/tools --ignore-scripts`,
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
  databases = await startReadmeDatabases(folder)
})

afterAll(() => databases?.close())

describe('a configuration file of docs/tools.md', () => {
  it.each(TOOLS)(
    'has %s migrate the database with tokens',
    async (_tool, place, program, command, table) => {
      const preload = join(root, 'test/support/readme/databases-on-loopback.cjs')
      const env = {
        ...databases.env,
        PGHOST: HOST,
        PGUSER: 'admin',
        NODE_OPTIONS: `--require ${preload}`,
        NODE_EXTRA_CA_CERTS: databases.env['PGSSLROOTCERT'],
        NODE_ENV: 'production',
      }
      await run(process.execPath, [join(root, program), ...command.split(' ')], {
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
