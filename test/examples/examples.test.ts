import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { itRunsExample } from './it-runs-example.js'
import { runProgram } from './run-program.js'

const EXAMPLES = [
  'sequelize',
  'sequelize-7',
  'typeorm',
  'knex',
  'kysely',
  'prisma',
  'drizzle',
  'drizzle-postgres-js',
  'pg',
  'postgres-js',
]
/** With that of MikroORM, which needs a newer Node: test/mikro-orm runs it. */
const ALL_EXAMPLES = [...EXAMPLES, 'mikro-orm']

const SERVERS = ['pglite', 'reverse-proxy', 'memory', 'hooks', 'pooler'].map(
  (name) => `gateway/${name}`,
)

describe('npm run example', () => {
  EXAMPLES.forEach((name) => itRunsExample(name))

  it('has an example for every client that the package has an adapter for', async () => {
    const { exports } = JSON.parse(readFileSync(join(process.cwd(), 'package.json'), 'utf8'))
    const others = ['.', './gateway', './migrations', './register', './package.json']
    // test/browser runs those with pages.
    others.push('./postgres-js-websocket', './sign-in')
    const adapters = Object.keys(exports).filter((path) => !others.includes(path))
    expect(adapters.toSorted()).toEqual(ALL_EXAMPLES.map((name) => `./${name}`).toSorted())
  })

  it.each([
    ['no name', []],
    ['an unknown name', ['constructor']],
    ['two names', ['pg', 'knex']],
  ])('says which examples there are for %s', async (_case, names) => {
    const { exitCode, stdout, stderr } = await runProgram('run.js', names)
    expect(stderr).toBe(
      `usage: npm run example ${[...ALL_EXAMPLES, ...SERVERS, 'browser', 'redshift-dashboard'].join('|')}\n`,
    )
    expect(stdout).toBe('')
    expect(exitCode).toBe(2)
  })

  it('uses the cluster of PGHOST if it is set', async () => {
    const environment = { PGHOST: 'db.example.com', PGUSER: 'app' }
    const { exitCode, stdout, stderr } = await runProgram('run.js', ['pg'], { environment })
    expect(stderr).toContain('"host" must be an endpoint name of a known provider')
    expect(stdout).toBe('')
    expect(exitCode).toBe(1)
  })
})
