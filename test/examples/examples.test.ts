import { readFileSync } from 'node:fs'
import { join } from 'node:path'
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

describe('npm run example', () => {
  it.each(EXAMPLES)('runs %s against a gateway of its own', async (name) => {
    const { exitCode, stdout, stderr } = await runProgram('run.js', [name])
    expect(stderr).toBe('')
    expect(stdout.replace(/^as app to \w{26}(\.dsql\S+), at 127\.0\.0\.1:\d+$/m, 'as app$1')).toBe(
      [
        'engine: postgres',
        'as app.dsql.us-east-1.on.aws',
        'created table pg_iam_account, unless it was there',
        'wrote two accounts: Ada 100, Ben 0',
        'moved 30 from Ada to Ben in a transaction',
        'read: Ada 70, Ben 30',
        'removed both accounts',
        'closed the pool',
        'physical connections: 1, tokens: 1',
        '',
      ].join('\n'),
    )
    expect(exitCode).toBe(0)
  })

  it('has an example for every client that the package has an adapter for', async () => {
    const { exports } = JSON.parse(readFileSync(join(process.cwd(), 'package.json'), 'utf8'))
    // MikroORM needs a newer Node than the examples. test/mikro-orm has a program.
    const others = ['.', './gateway', './mikro-orm', './package.json']
    const adapters = Object.keys(exports).filter((path) => !others.includes(path))
    expect(adapters.toSorted()).toEqual(EXAMPLES.map((name) => `./${name}`).toSorted())
  })

  it.each([
    ['no name', []],
    ['an unknown name', ['constructor']],
    ['two names', ['pg', 'knex']],
  ])('says which examples there are for %s', async (_case, names) => {
    const { exitCode, stdout, stderr } = await runProgram('run.js', names)
    expect(stderr).toBe(`usage: npm run example ${EXAMPLES.join('|')}\n`)
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
