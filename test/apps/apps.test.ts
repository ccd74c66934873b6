/** The lines of docs/with.md compile, and their frameworks and libraries work with them, against a gateway in the place of the databases. */
import { execFile } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startGateway, type Gateway } from '../../gateway/index.js'

const run = promisify(execFile)
const root = join(__dirname, '../..')
const page = readFileSync(join(root, 'docs/with.md'), 'utf8')
const programs = join(__dirname, 'programs')
// Within the package, so that its own name resolves as it does for a user.
const folder = join(root, 'build', 'apps')

const DSQL_HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
const RDS_HOST = 'shop.cluster-c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'

type Provider = 'rds' | 'aurora-dsql'

/** The login of each provider; the page has that of RDS. */
const LOGINS: Readonly<Record<Provider, string | undefined>> = {
  rds: undefined,
  'aurora-dsql': `
    import { auroraDsql } from 'pg-iam'
    export const login = auroraDsql({ host: '${DSQL_HOST}', user: 'app' })`,
}

interface App {
  /** Its file in docs/with.md; `run-NAME.ts` uses it. */
  readonly name: string
  /** What it does is only possible on RDS, or its tables are. */
  readonly isRdsOnly?: true
  /** How many connections it cannot close. */
  readonly keeps?: number
  readonly result: unknown
}

const NOTE = { id: 1, body: 'one' }
const APPS: readonly App[] = [
  { name: 'nest-typeorm', result: [NOTE] },
  { name: 'nest-sequelize', result: [NOTE] },
  { name: 'better-auth', result: 'ada@example.com' },
  { name: 'pg-boss', isRdsOnly: true, result: [{ to: 'ada' }, 'completed'] },
  { name: 'graphile-worker', isRdsOnly: true, result: ['greet', 1] },
  { name: 'objection', result: [NOTE] },
  { name: 'pg-promise', result: [{ me: 'app' }, { id: 1 }] },
  { name: 'node-pg-migrate', isRdsOnly: true, result: [1, true, 1, false] },
  { name: 'connect-pg-simple', result: 'ada' },
  { name: 'effect-sql', result: [{ id: 1, me: 'app' }] },
  { name: 'vercel', result: [[{ me: 'app' }], 1, 0] },
  { name: 'lambda', result: [{ me: 'app' }, { me: 'app' }] },
  { name: 'payload', isRdsOnly: true, keeps: 2, result: ['one'] },
  { name: 'adonisjs', result: [{ id: 1 }] },
]

const RUNS = APPS.flatMap(({ isRdsOnly, keeps = 0, ...app }) => [
  { ...app, keeps, provider: 'rds' as const },
  ...(isRdsOnly === true ? [] : [{ ...app, keeps, provider: 'aurora-dsql' as const }]),
])

interface Report {
  readonly result: unknown
  readonly tokensMade: number
  readonly tokensReused: number
  readonly connectionsOpened: number
  readonly connectionsOpen: number
}

beforeAll(async () => {
  const packages = join(__dirname, 'node_modules')
  if (!existsSync(packages))
    throw new Error(
      'The frameworks are not installed. Run: npm install --prefix test/apps --ignore-scripts --no-package-lock',
    )
  rmSync(folder, { recursive: true, force: true })
  for (const provider of Object.keys(LOGINS) as Provider[]) writePrograms(provider)
  symlinkSync(packages, join(folder, 'node_modules'))
  const compilerOptions = {
    outDir: '.',
    rootDir: '.',
    declaration: false,
    isolatedDeclarations: false,
    erasableSyntaxOnly: false,
    experimentalDecorators: true,
    noPropertyAccessFromIndexSignature: false,
    types: ['node'],
  }
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../tsconfig.json',
      compilerOptions,
      include: ['.'],
      exclude: ['node_modules'],
    }),
  )
})

/** The files of the page, and the programs that use them. */
function writePrograms(provider: Provider): void {
  const place = join(folder, provider)
  mkdirSync(place, { recursive: true })
  const blocks = [...page.matchAll(/^```ts (\S+)\n([\s\S]*?)^```$/gm)]
  expect(blocks.map(([, name = '']) => name)).toEqual([
    'login.ts',
    ...APPS.map(({ name }) => `${name}.ts`),
  ])
  for (const [, name = '', code = ''] of blocks) {
    const own = name === 'login.ts' ? LOGINS[provider] : undefined
    writeFileSync(join(place, name), own ?? code)
  }
  for (const name of readdirSync(programs)) copyFileSync(join(programs, name), join(place, name))
}

/**
 * With the SQL of PostgreSQL: some of them create their tables in ways that Aurora DSQL refuses, as the page says. Each has a separate
 * database: Payload asks before it deletes the tables of others.
 */
async function runProgram(provider: Provider, name: string): Promise<Report> {
  const hosts = [provider === 'rds' ? RDS_HOST : DSQL_HOST]
  const gateway = await startGateway({
    engine: 'postgres',
    sql: 'postgres',
    endpoints: [{ provider, hosts }],
  })
  try {
    return await runAgainst(gateway, provider, name)
  } finally {
    await gateway.close()
  }
}

async function runAgainst(gateway: Gateway, provider: Provider, name: string): Promise<Report> {
  const certificate = join(folder, provider, 'ca.pem')
  writeFileSync(certificate, gateway.ca)
  const { stdout } = await run(
    process.execPath,
    [
      '--require',
      join(root, 'test/support/readme/databases-on-loopback.cjs'),
      join(folder, provider, `run-${name}.js`),
    ],
    {
      cwd: join(folder, provider),
      timeout: 30_000,
      env: {
        PATH: process.env['PATH'],
        AWS_ACCESS_KEY_ID: gateway.credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: gateway.credentials.secretAccessKey,
        AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
        BETTER_AUTH_SECRET: 'a secret of at least thirty-two characters',
        PAYLOAD_SECRET: 'secret',
        GATEWAY_PORT: String(gateway.port),
        PGDATABASE: 'postgres',
        PGSSLROOTCERT: certificate,
      },
    },
  )
  const last = stdout.trim().split('\n').at(-1) ?? ''
  return JSON.parse(last) as Report
}

describe('docs/with.md', () => {
  it('has lines that compile under strict', async () => {
    const { stdout } = await run(process.execPath, [
      join(root, 'node_modules/typescript/bin/tsc'),
      '-p',
      folder,
    ]).catch((error: unknown) => error as { stdout: string })
    expect(stdout).toBe('')
  })

  it.each(RUNS)('has lines for $name that work with a login of $provider', async (app) => {
    const { result, ...counters } = await runProgram(app.provider, app.name)
    expect(result).toEqual(app.result)
    const { tokensMade, tokensReused, connectionsOpened } = counters
    expect(connectionsOpened).toBeGreaterThan(0)
    expect(tokensMade + tokensReused).toBe(connectionsOpened)
    // Tokens of RDS are shared by the connections of a minute.
    if (app.provider === 'aurora-dsql') expect(tokensReused).toBe(0)
    expect(counters.connectionsOpen).toBe(app.keeps)
  })

  it("says that Payload's replicas are refused", async () => {
    const { result } = await runProgram('rds', 'payload-replica')
    expect(result).toBe(
      `the client is configured to connect to "reader.example.com", but its socket function belongs to a login for "${RDS_HOST}"`,
    )
  })
})
