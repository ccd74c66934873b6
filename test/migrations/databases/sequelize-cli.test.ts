/** sequelize-cli with the migration files that people have, against the gateway as Aurora DSQL. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type CommandDatabases, DSQL_HOST, startDatabases } from '../../cli/support/databases.js'

const run = promisify(execFile)
const CLI = join(process.cwd(), 'test/tools/node_modules/sequelize-cli/lib/sequelize')

const FILES: Readonly<Record<string, string>> = {
  '.sequelizerc': `module.exports = { config: 'config.cjs' }`,
  'config.cjs': `
    const { auroraDsql } = require('pg-iam')
    const { sequelizeOptions } = require('pg-iam/sequelize')
    const login = auroraDsql({ host: '${DSQL_HOST}', user: 'admin', signer: 'built-in' })
    const options = { dsqlMigrations: true, seederStorage: 'sequelize', logging: false }
    module.exports = { development: sequelizeOptions(login, options) }`,
  'migrations/1-owners.cjs': `
    module.exports = {
      async up(query, { BIGINT, STRING }) {
        await query.createTable('cli_owners', {
          id: { type: BIGINT, primaryKey: true, autoIncrement: true },
          name: { type: STRING, allowNull: false },
        })
        await query.addIndex('cli_owners', ['name'], { unique: true })
      },
      down: (query) => query.dropTable('cli_owners'),
    }`,
  'migrations/2-city.cjs': `
    module.exports = {
      up: (query, { STRING }) => query.addColumn('cli_owners', 'city', { type: STRING, defaultValue: 'Madison' }),
      down: (query) => query.removeColumn('cli_owners', 'city'),
    }`,
  'seeders/1-owners.cjs': `
    module.exports = {
      up: (query) => query.bulkInsert('cli_owners', [{ name: 'George' }, { name: 'Betty' }]),
      down: (query) => query.bulkDelete('cli_owners', {}),
    }`,
}

let databases: CommandDatabases
let folder: string
beforeAll(async () => {
  if (!existsSync(CLI))
    throw new Error('sequelize-cli is not installed. Run: npm install --prefix test/tools')
  databases = await startDatabases()
  mkdirSync('build', { recursive: true })
  // Within the package, so that its own name resolves as it does for a user.
  folder = mkdtempSync(join(process.cwd(), 'build', 'sequelize-cli-'))
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
})
afterAll(async () => {
  await databases?.close()
  if (folder !== undefined) rmSync(folder, { recursive: true })
})

const cli = async (...words: string[]): Promise<string> => {
  const env = { ...process.env, ...databases.env, NODE_ENV: 'development' }
  const { stdout } = await run(process.execPath, [CLI, ...words], { cwd: folder, env })
  return stdout
}

describe('sequelize-cli on Aurora DSQL', () => {
  it('migrates, seeds, and undoes both', async () => {
    expect(await cli('db:migrate')).toMatch(/1-owners: migrated[^]*2-city: migrated/)
    expect(await cli('db:migrate')).toMatch(/already up to date/)
    expect(await cli('db:seed:all')).toMatch(/1-owners: migrated/)
    expect(await cli('db:migrate:status')).toMatch(/up 1-owners\.cjs\nup 2-city\.cjs/)
    expect(await cli('db:seed:undo:all')).toMatch(/1-owners: reverted/)
    expect(await cli('db:migrate:undo')).toMatch(/2-city: reverted/)
    expect(await cli('db:migrate:undo')).toMatch(/1-owners: reverted/)
    expect(await cli('db:migrate:status')).toMatch(/down 1-owners\.cjs\ndown 2-city\.cjs/)
  })
})
