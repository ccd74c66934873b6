/** Applications that know nothing of pg-iam, with `NODE_OPTIONS=--import pg-iam/register`, against a gateway in the place of the databases. */
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { Gateway } from '../../gateway/index.js'
import { type Running, startCommand } from '../cli/support/command.js'
import {
  type CommandDatabases,
  DSQL_URL,
  RDS_URL,
  startDatabases,
} from '../cli/support/databases.js'
import { eventually } from '../support/eventually.js'
import { type LoopbackServer, startLoopback } from '../support/issuers/loopback-server.js'

const root = join(__dirname, '../..')
const folder = join(root, 'build', 'unmodified')
const REGISTER = pathToFileURL(join(root, 'dist/register/index.js')).href

/** Short enough that connections of one test need several tokens; those of RDS are shared until they expire. */
const CREDENTIALS_SECS = 4

let databases: CommandDatabases
/** The endpoint for credentials of a container. */
let agent: LoopbackServer

beforeAll(async () => {
  const packages = join(__dirname, 'node_modules')
  if (!existsSync(packages))
    throw new Error(
      'The frameworks are not installed. Run: npm install --prefix test/apps --ignore-scripts --no-package-lock',
    )
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  cpSync(join(__dirname, 'unmodified'), folder, { recursive: true })
  symlinkSync(packages, join(folder, 'node_modules'))
  writeFileSync(join(folder, 'package.json'), '{"type":"commonjs"}')
  const compilerOptions = {
    outDir: '.',
    rootDir: '.',
    declaration: false,
    isolatedDeclarations: false,
    erasableSyntaxOnly: false,
    verbatimModuleSyntax: false,
    experimentalDecorators: true,
    emitDecoratorMetadata: true,
    noPropertyAccessFromIndexSignature: false,
    types: ['node'],
  }
  const config = { extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'], exclude: [] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  await promisify(execFile)(process.execPath, [compiler, '-p', folder])

  databases = await startDatabases({ engine: 'postgres' })
  agent = await startLoopback(async () => {
    const issued = databases.gateway.issueCredentials({ durationSecs: CREDENTIALS_SECS })
    const body = {
      AccessKeyId: issued.accessKeyId,
      SecretAccessKey: issued.secretAccessKey,
      Token: issued.sessionToken,
      Expiration: issued.expiration.toISOString(),
    }
    return { body }
  })
})
afterAll(async () => {
  await agent?.close()
  await databases?.close()
})

const running = new Set<Running>()
afterEach(async () => {
  for (const app of running) app.child.kill('SIGKILL')
  await Promise.all([...running].map(({ ended }) => ended))
  running.clear()
})

/** Starts an application of `test/apps/unmodified`. */
function start(file: string, url: string, nodeOptions = `--import ${REGISTER}`): Running {
  const { PGSSLROOTCERT, PG_IAM_CONNECT_TO } = databases.env
  const app = startCommand([], {
    main: join(folder, file),
    cwd: folder,
    env: {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: agent.url,
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
      DATABASE_URL: url,
      NODE_OPTIONS: nodeOptions,
      PGSSLROOTCERT,
      PG_IAM_CONNECT_TO,
      PORT: '0',
    },
  })
  running.add(app)
  return app
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

async function listening(
  app: Running,
): Promise<(method: string, path: string, body?: object) => Promise<Answer>> {
  const [, port] = await app.printed(/listening on port (\d+)/)
  return async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { connection: 'close', 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      status: response.status,
      body: text === '' ? undefined : (JSON.parse(text) as unknown),
    }
  }
}

function endSessions(gateway: Gateway): void {
  for (const { processId } of gateway.faults.sessions()) gateway.faults.killSession(processId)
}

describe.each([
  ['Express and Sequelize', 'express-sequelize.cjs'],
  ['NestJS and TypeORM', 'nest-typeorm.js'],
])('an unmodified application of %s with pg-iam/register', (_name, file) => {
  it.each([
    ['Aurora DSQL', DSQL_URL],
    ['RDS', RDS_URL],
  ])(
    'writes and reads in %s, gets a new token for new connections when the old one has expired, and stops cleanly',
    async (_database, url) => {
      const { gateway } = databases
      const before = gateway.stats()
      const app = start(file, url)
      const request = await listening(app)

      const created = await request('POST', '/notes', { body: 'one' })
      const { id } = created.body as { id: string }
      expect(created).toEqual({ status: 201, body: { id, body: 'one' } })
      expect(await request('PUT', `/notes/${id}`, { body: 'two' })).toMatchObject({ status: 204 })
      const note = { id, body: 'two' }
      expect(await request('GET', `/notes/${id}`)).toEqual({ status: 200, body: note })

      // Each new connection needs a token, and the first ones expire.
      const tokens = gateway.stats().distinctTokens
      await eventually('a login with a new token', async () => {
        endSessions(gateway)
        await request('GET', '/notes')
        return gateway.stats().distinctTokens > tokens
      })
      await eventually('an answer over the new connection', async () => {
        return (await request('GET', `/notes/${id}`)).status === 200
      })
      expect(await request('DELETE', `/notes/${id}`)).toMatchObject({ status: 204 })
      expect(await request('GET', `/notes/${id}`)).toMatchObject({ status: 404 })
      expect(gateway.stats().loginsRefused).toBe(before.loginsRefused)

      expect(await app.stop()).toMatchObject({ code: 0 })
      await eventually('no open connection', () => gateway.stats().connectionsOpen === 0)
    },
  )
})

describe('a tracer with pg-iam/register in the same process', () => {
  // Most of their hooks are for `import`, where two that wrap a module must not exclude each other.
  const PROGRAM = `
    import pg from 'pg'
    import postgres from 'postgres'
    const work = async () => {
      const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 1 })
      const { rows } = await pool.query('SELECT current_user AS me')
      await pool.end()
      const sql = postgres(process.env.DATABASE_URL, { max: 1 })
      const [row] = await sql\`SELECT current_user AS me\`
      await sql.end()
      console.log('users ' + rows[0].me + ' ' + row.me)
    }
    await (globalThis.traced ?? ((own) => own()))(work)
    await globalThis.flushed?.()`

  beforeAll(() => writeFileSync(join(folder, 'traced.mjs'), PROGRAM))

  it.each([
    ['OpenTelemetry', 'opentelemetry.mjs', 'before', /^span pg\.query:SELECT/m],
    ['OpenTelemetry', 'opentelemetry.mjs', 'after', /^span pg\.query:SELECT/m],
    ['Sentry', 'sentry.mjs', 'before', /^span SELECT/m],
    ['Sentry', 'sentry.mjs', 'after', /^span SELECT/m],
  ])(
    'records queries with %s, whose %s is given %s pg-iam/register, and logs in',
    async (_name, file, place, span) => {
      const tracer = `--import ${pathToFileURL(join(folder, file)).href}`
      const register = `--import ${REGISTER}`
      const order = place === 'before' ? [tracer, register] : [register, tracer]
      const app = start('traced.mjs', RDS_URL, order.join(' '))
      app.child.stdin.end()
      const { code, stdout, stderr } = await app.ended
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toContain('users app app\n')
      expect(stdout).toMatch(span)
    },
  )
})
