/** `--import pg-iam/register`: applications that know nothing of pg-iam, as processes of their own against the gateway. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type Ended, runCommand } from '../cli/support/command.js'
import {
  type CommandDatabases,
  DSQL_HOST,
  DSQL_URL,
  RDS_HOST,
  RDS_URL,
  startDatabases,
} from '../cli/support/databases.js'
import { launchPostgres } from '../support/launch-postgres.js'

const REGISTER = pathToFileURL(join(process.cwd(), 'dist/register/index.js')).href
const OWN_HOST = 'db.example.com'

let databases: CommandDatabases
let folder: string
let count = 0

beforeAll(async () => {
  databases = await startDatabases({
    endpoints: [
      { provider: 'aurora-dsql', hosts: [DSQL_HOST] },
      { provider: 'rds', hosts: [RDS_HOST] },
    ],
  })
  // Within the package, so that applications find its drivers.
  mkdirSync('build', { recursive: true })
  folder = mkdtempSync(join(process.cwd(), 'build', 'register-'))
})
afterAll(async () => {
  await databases?.close()
  if (folder !== undefined) rmSync(folder, { recursive: true })
})

interface AppOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
  /** The ending of the file. */
  readonly type?: 'mjs' | 'cjs'
  readonly nodeOptions?: string
  readonly place?: string
}

/** Writes an application, and runs it. It ends by itself if it has closed its connections. */
function run(
  code: string,
  { env = {}, type = 'mjs', nodeOptions = `--import ${REGISTER}`, place = folder }: AppOptions = {},
): Promise<Ended> {
  const main = join(place, `app-${++count}.${type}`)
  writeFileSync(main, code)
  return runCommand([], {
    main,
    env: { ...databases.env, NODE_OPTIONS: nodeOptions, PG_IAM_DEBUG: '0', ...env },
    cwd: place,
  })
}

/** What an application printed, if it ended well and nothing was said on stderr. */
async function printed(code: string, options?: AppOptions): Promise<unknown> {
  const { code: exitCode, stdout, stderr } = await run(code, options)
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  return JSON.parse(stdout)
}

const url = JSON.stringify(DSQL_URL)
const WHO = 'SELECT current_user AS me'
const USE_POOL = `
  const me = async () => {
    const pool = new Pool({ connectionString: ${url} })
    const { rows } = await pool.query('${WHO}')
    await pool.end()
    return rows[0].me
  }`
const USE_SQL = `
  const mine = async () => {
    const sql = postgres(${url}, { max: 1 })
    const [row] = await sql.unsafe('${WHO}')
    await sql.end()
    return row.me
  }`

describe('pg-iam/register', () => {
  it.each<[string, string, AppOptions['type']]>([
    ['the default import of pg', `import pg from 'pg'; const { Pool } = pg; ${USE_POOL}`, 'mjs'],
    ['a named import of pg', `import { Pool } from 'pg'; ${USE_POOL}`, 'mjs'],
    [
      'a namespace import of pg',
      `import * as pg from 'pg'; const { Pool } = pg; ${USE_POOL}`,
      'mjs',
    ],
    ['a dynamic import of pg', `const { Pool } = await import('pg'); ${USE_POOL}`, 'mjs'],
    ['require of pg', `const { Pool } = require('pg'); ${USE_POOL}`, 'cjs'],
    [
      'import() of pg in CommonJS',
      `let Pool; ${USE_POOL}; const own = me; me2 = async () => { ({ Pool } = await import('pg')); return own() }`,
      'cjs',
    ],
    [
      'the import of postgres',
      `import postgres from 'postgres'; ${USE_SQL}; const me = mine`,
      'mjs',
    ],
    [
      'require of postgres',
      `const postgres = require('postgres'); ${USE_SQL}; const me = mine`,
      'cjs',
    ],
    [
      'import() of postgres in CommonJS',
      `let postgres; ${USE_SQL}; me2 = async () => { ({ default: postgres } = await import('postgres')); return mine() }`,
      'cjs',
    ],
  ])('logs in by %s', async (_how, code, type) => {
    const start = code.includes('me2') ? 'me2' : 'me'
    const end = `\n${start}().then((who) => console.log(JSON.stringify(who)))`
    const source = start === 'me2' ? `var me2;${code}` : code
    expect(await printed(source + end, type === undefined ? {} : { type })).toBe('app')
  })

  it('logs in whatever form the address has: fields, a connection string, PGHOST', async () => {
    const code = `
      import pg, { Client } from 'pg'
      import postgres from 'postgres'
      const found = []
      const forms = [
        { host: '${DSQL_HOST}', user: 'app', database: 'postgres' },
        { host: '${DSQL_HOST.toUpperCase()}', user: 'app', ssl: { rejectUnauthorized: false } },
        '${RDS_URL}?sslmode=no-verify&application_name=shop',
        { connectionString: '${RDS_URL}', password: '' },
        undefined,
      ]
      for (const form of forms) {
        const client = new Client(form)
        await client.connect()
        const { rows } = await client.query("SELECT current_user AS me, current_setting('application_name') AS name")
        found.push(rows[0].me + (rows[0].name === 'shop' ? ' as shop' : ''))
        await client.end()
      }
      for (const form of [{ hostname: '${DSQL_HOST}', username: 'app', ssl: 'prefer' }, undefined]) {
        const sql = postgres(form)
        found.push((await sql\`SELECT current_user AS me\`)[0].me)
        await sql.end()
      }
      console.log(JSON.stringify(found))`
    const env = { PGHOST: DSQL_HOST, PGUSER: 'app' }
    expect(await printed(code, { env })).toEqual([
      'app',
      'app',
      'app as shop',
      'app',
      'app',
      'app',
      'app',
    ])
  })

  it('keeps tokens out of every object of a driver', async () => {
    const code = `
      import { inspect } from 'node:util'
      import { Pool } from 'pg'
      const pool = new Pool({ connectionString: ${url}, max: 3 })
      const clients = await Promise.all([1, 2, 3].map(() => pool.connect()))
      const shown = inspect([pool, clients], { depth: 12, showHidden: true })
      console.log(JSON.stringify([clients.map(({ password }) => password), shown.includes('X-Amz-Signature')]))
      for (const client of clients) client.release()
      await pool.end()`
    expect(await printed(code)).toEqual([[null, null, null], false])
  })

  it('sends no token to a server that it cannot verify, also if the application asks for no verification', async () => {
    const logins = (): number[] => {
      const { loginsAccepted, loginsRefused } = databases.gateway.stats()
      return [loginsAccepted, loginsRefused]
    }
    const before = logins()
    const code = `
      const { Client } = require('pg')
      const client = new Client({ connectionString: ${url} + '?sslmode=no-verify', ssl: { rejectUnauthorized: false } })
      client.connect().then(() => console.log('"in"'), (error) => console.log(JSON.stringify(error.code)))`
    const env = { PGSSLROOTCERT: undefined, NODE_TLS_REJECT_UNAUTHORIZED: '0' }
    const { stdout } = await run(code, { type: 'cjs', env })
    expect(JSON.parse(stdout)).toMatch(/^(?:UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|CERT_)/)
    expect(logins()).toEqual(before)
  })

  it('leaves other servers and existing passwords alone', async () => {
    const postgres = await launchPostgres({ roles: ['app'] })
    const plain = `postgres://app:${postgres.password}@localhost:${postgres.port}/postgres`
    const code = `
      import { Pool, Client } from 'pg'
      import postgres from 'postgres'
      const pool = new Pool({ connectionString: '${plain}' })
      const sql = postgres('${plain}')
      const rows = [(await pool.query('${WHO}')).rows[0].me, (await sql.unsafe('${WHO}'))[0].me]
      const own = new Client({ host: '${DSQL_HOST}', user: 'app', password: 'own' })
      const pass = () => 'own'
      const later = new Pool({ host: '${DSQL_HOST}', user: 'app', password: pass })
      const url = postgres('postgres://app:own@${DSQL_HOST}/postgres')
      rows.push(own.password, later.options.password === pass, 'stream' in later.options, url.options.pass, url.options.socket === undefined)
      await Promise.all([pool.end(), sql.end()])
      console.log(JSON.stringify(rows))`
    try {
      expect(await printed(code)).toEqual(['app', 'app', 'own', true, false, 'own', true])
    } finally {
      await postgres.close()
    }
  })

  it('logs in to the hosts of PG_IAM_HOSTS, which may be names of your own, in spite of a password', async () => {
    const code = `
      import { Client } from 'pg'
      import postgres from 'postgres'
      const client = new Client('postgres://app:unused@${DSQL_HOST}/postgres')
      await client.connect()
      console.log(JSON.stringify((await client.query('${WHO}')).rows))
      await client.end()
      postgres('postgres://app:unused@${OWN_HOST}/postgres')`
    const env = { PG_IAM_HOSTS: `${DSQL_HOST}, ${OWN_HOST}=aurora-dsql`, AWS_REGION: 'us-east-1' }
    const { stdout, stderr } = await run(code, { env: { ...env, PG_IAM_DEBUG: '1' } })
    expect(stdout).toBe('[{"me":"app"}]\n')
    expect(stderr).toContain(`postgres() for ${OWN_HOST} logs in as app (aurora-dsql)`)
  })

  it('patches once where an application imports and requires both drivers, and keeps what they export', async () => {
    const code = `
      import { createRequire } from 'node:module'
      import pg, { Client, Pool } from 'pg'
      import postgres from 'postgres'
      const require = createRequire(import.meta.url)
      const required = require('pg')
      class Own extends Client {}
      const own = new Own(${url})
      await own.connect()
      const { rows } = await own.query('${WHO}')
      await own.end()
      const pool = new Pool({ connectionString: ${url} })
      const client = await pool.connect()
      const isClient = client instanceof Client
      client.release()
      await pool.end()
      console.log(JSON.stringify([
        [pg === required, pg.Pool === Pool, required.Client === Client, own instanceof Own, isClient],
        rows[0].me,
        [postgres, require('postgres')].map(({ name, PostgresError, toCamel, BigInt }) => [name, typeof PostgresError, typeof toCamel, BigInt.to]),
      ]))`
    expect(await printed(code)).toEqual([
      [true, true, true, true, true],
      'app',
      [
        ['Postgres', 'function', 'function', 20],
        ['Postgres', 'function', 'function', 20],
      ],
    ])
  })

  it('logs in what libraries and applications make of pg: subclasses, a pool with a client class, pg-pool, pg-promise and Knex', async () => {
    const code = `
      const pg = require('pg')
      const Pool = require('pg-pool')
      const knex = require('knex')({ client: 'pg', connection: ${url} })
      const db = require('pg-promise')()(${url})
      const me = async (pool) => {
        const { rows } = await pool.query('${WHO}')
        await pool.end()
        return rows[0].me
      }
      class OwnClient extends pg.Client {}
      class OwnPool extends pg.Pool {}
      const main = async () => {
        const found = [
          await me(new OwnPool({ connectionString: ${url} })),
          await me(new pg.Pool({ connectionString: ${url}, Client: OwnClient })),
          await me(new Pool({ connectionString: ${url} })),
          (await knex.raw('${WHO}')).rows[0].me,
          (await db.one('${WHO}')).me,
          new pg.Client(${url}).constructor === pg.Client,
        ]
        await knex.destroy()
        await db.$pool.end()
        console.log(JSON.stringify(found))
      }
      main()`
    const { stdout, stderr } = await run(code, { type: 'cjs', env: { PG_IAM_DEBUG: '1' } })
    expect(JSON.parse(stdout)).toEqual(['app', 'app', 'app', 'app', 'app', true])
    expect(stderr).not.toContain('is left alone')
  })

  it('logs in if it is given by --require, as ts-node needs it', async () => {
    const nodeOptions = `--require ${fileURLToPath(REGISTER)}`
    const code = `import { Pool } from 'pg'; ${USE_POOL}; console.log(JSON.stringify(await me()))`
    expect(await printed(code, { nodeOptions })).toBe('app')
  })

  it('takes the host, the user and the password that an application sets in pg.defaults', async () => {
    const code = `
      import pg from 'pg'
      Object.assign(pg.defaults, { host: '${DSQL_HOST}', user: 'app' })
      const client = new pg.Client()
      await client.connect()
      const { rows } = await client.query('${WHO}')
      await client.end()
      pg.defaults.password = 'own'
      console.log(JSON.stringify([rows[0].me, 'stream' in new pg.Pool().options]))`
    expect(await printed(code)).toEqual(['app', false])
  })

  it('reaches several copies of a driver, and worker threads', async () => {
    const place = mkdtempSync(join(folder, 'copies-'))
    const modules = join(place, 'lib/node_modules/pg')
    cpSync(join(process.cwd(), 'node_modules/pg'), modules, { recursive: true, dereference: true })
    const use = (name: string): string => `
      const ${name} = async ({ Client }) => {
        const client = new Client(${url})
        await client.connect()
        const { rows } = await client.query('${WHO}')
        await client.end()
        return rows[0].me
      }`
    writeFileSync(
      join(place, 'lib/index.cjs'),
      `${use('me')}; exports.pg = require('pg'); exports.me = () => me(exports.pg)`,
    )
    writeFileSync(
      join(place, 'worker.mjs'),
      `import { parentPort } from 'node:worker_threads'; import pg from 'pg'; ${use('me')}; parentPort.postMessage(await me(pg))`,
    )
    const code = `
      import { once } from 'node:events'
      import { Worker } from 'node:worker_threads'
      import pg from 'pg'
      import copy from './lib/index.cjs'
      ${use('me')}
      const worker = new Worker(new URL('./worker.mjs', import.meta.url))
      const [inWorker] = await once(worker, 'message')
      console.log(JSON.stringify([copy.pg === pg, await me(pg), await copy.me(), inWorker]))`
    expect(await printed(code, { place })).toEqual([false, 'app', 'app', 'app'])
  })

  it('lets Postgres.js keep its safe transactions: a lost connection ends begin, and not the process', async () => {
    const code = `
      import postgres from 'postgres'
      const sql = postgres('${RDS_URL}', { max: 1, onnotice() {} })
      const failed = await sql.begin(async (tx) => {
        await tx\`SELECT pg_terminate_backend(pg_backend_pid())\`.catch(() => {})
        await tx\`SELECT 1\`
      }).catch((error) => error.code)
      console.log(JSON.stringify([failed, (await sql.unsafe('${WHO}'))[0].me]))
      await sql.end()`
    expect(await printed(code)).toEqual(['57P01', 'app'])
  })

  it('logs in an unchanged application of Sequelize', async () => {
    const code = `
      const { Sequelize } = require('sequelize')
      const sequelize = new Sequelize({ dialect: 'postgres', host: '${RDS_HOST}', username: 'app', database: 'postgres', logging: false })
      sequelize.query('${WHO}').then(async ([rows]) => {
        console.log(JSON.stringify(rows))
        await sequelize.close()
      })`
    expect(await printed(code, { type: 'cjs' })).toEqual([{ me: 'app' }])
  })

  it('says with PG_IAM_DEBUG=1 what it did, and never a token', async () => {
    const code = `
      import { Pool } from 'pg'
      import postgres from 'postgres'
      new Pool({ host: 'localhost', password: 'geheim' })
      postgres('postgres://app:geheim@${DSQL_HOST}/postgres')
      ${USE_POOL}
      await me()`
    const { stderr } = await run(code, { env: { PG_IAM_DEBUG: '1' } })
    expect(stderr).toMatch(
      /pg-iam\/register: pg \d+\.\d+\.\d+ in \/.*node_modules\/pg is reached\n/,
    )
    expect(stderr).toContain(
      'pg.Pool for localhost is left alone: the host is no known IAM endpoint',
    )
    expect(stderr).toContain(`postgres() for ${DSQL_HOST} is left alone: it has a password`)
    expect(stderr).toContain(`pg.Pool for ${DSQL_HOST} logs in as app (aurora-dsql)\n`)
    expect(stderr).not.toMatch(/geheim|X-Amz/)
  })

  it('says with PG_IAM_DEBUG=1 that no driver was loaded, as in a bundle', async () => {
    const { stderr } = await run('', { env: { PG_IAM_DEBUG: '1' } })
    expect(stderr).toContain('neither pg nor postgres was loaded. A driver within a bundle')
  })

  it('says that a driver was loaded too early to be reached', async () => {
    const early = pathToFileURL(join(folder, 'early.mjs')).href
    writeFileSync(new URL(early), `import 'pg'`)
    const { code, stderr } = await run('', {
      nodeOptions: `--import ${early} --import ${REGISTER}`,
    })
    expect(code).toBe(0)
    expect(stderr).toMatch(
      /^pg-iam\/register: pg in \/.*node_modules\/pg was loaded before pg-iam\/register, .* Give --import pg-iam\/register before every other/,
    )
  })

  it('leaves a driver alone that is older than those that are tested, and says so', async () => {
    const place = mkdtempSync(join(folder, 'old-'))
    const old = join(place, 'node_modules/pg')
    mkdirSync(old, { recursive: true })
    writeFileSync(join(old, 'package.json'), '{"name":"pg","version":"8.11.3","main":"index.js"}')
    writeFileSync(join(old, 'index.js'), 'exports.Client = class Old {}; exports.Pool = class {}')
    const { code, stdout, stderr } = await run(
      `const { Client } = require('pg'); console.log(new Client(${url}).constructor.name)`,
      { type: 'cjs', place },
    )
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Old\n' })
    expect(stderr).toContain('is left alone: it must be 8.20.0 or newer')
  })

  it.each([
    [{ PG_IAM_HOSTS: OWN_HOST }, '"PG_IAM_HOSTS" must name the provider of "db.example.com"'],
    [{ PG_IAM_HOSTS: `${OWN_HOST}=aws` }, '"PG_IAM_HOSTS: db.example.com" must be "aurora-dsql"'],
    [{ PG_IAM_HOSTS: 'a=rds=b' }, '"PG_IAM_HOSTS" must be hosts as HOST or HOST=PROVIDER'],
    [{ PG_IAM_HOSTS: 'postgres://db=rds' }, '"PG_IAM_HOSTS" must be a host name'],
    [{ PG_IAM_DEBUG: 'loud' }, '"PG_IAM_DEBUG" must be "1" or "0", got "loud"'],
  ])('ends with one line for the environment %j', async (env, message) => {
    const { code, stdout, stderr } = await run('console.log("ran")', { env })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(`pg-iam/register: ${message}`)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})

describe('pg-iam register-path', () => {
  it('prints an address for NODE_OPTIONS that Node finds where pg-iam is not installed', async () => {
    const { code, stdout, stderr } = await runCommand(['register-path'], { cwd: databases.folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const ended = await run(`const { Pool } = require('pg'); ${USE_POOL}; me().then(console.log)`, {
      type: 'cjs',
      nodeOptions: `--import ${stdout.trim()}`,
    })
    expect(ended).toEqual({ code: 0, stdout: 'app\n', stderr: '' })
  })

  it('prints it as JSON, too', async () => {
    const { stdout } = await runCommand(['register-path', '--json'])
    expect(JSON.parse(stdout)).toEqual({ url: REGISTER })
  })
})
