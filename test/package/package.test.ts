import { build, type OutputFile } from 'esbuild'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CREDENTIALS, HOST } from '../core/support/dsql-options.js'
import { acceptTls, startStandIn } from '../core/support/postgres-stand-in.js'
import { RDS_HOST } from '../core/support/rds-options.js'
import { runNode } from '../core/support/run-node.js'

const PEERS_OF_AWS = [
  '@aws-sdk/dsql-signer',
  '@aws-sdk/rds-signer',
  '@aws-sdk/credential-providers',
]
const OPTIONS = JSON.stringify({ host: HOST, user: 'app', credentials: CREDENTIALS })

/** The run-time exports of each subpath. Types are exported in addition. */
const EXPORT_NAMES: Readonly<Record<string, readonly string[]>> = {
  '.': [
    'PgIamError',
    'auroraDsql',
    'cloudSql',
    'customLogin',
    'entra',
    'insertInChunks',
    'isOccConflict',
    'isPgIamError',
    'loginFromEnv',
    'loginFromUrl',
    'rds',
    'redshift',
    'retryOnConflict',
    'streamFactory',
  ],
  './drizzle': ['drizzleClient', 'drizzleMigrate', 'drizzleTransaction'],
  './drizzle-postgres-js': ['drizzleClient', 'drizzleMigrate', 'drizzleTransaction'],
  './gateway': [
    'Oid',
    'ProtocolViolation',
    'ServerError',
    'bindComplete',
    'closeComplete',
    'commandComplete',
    'copyData',
    'copyDone',
    'copyInResponse',
    'copyOutResponse',
    'createLimits',
    'createReplyTracker',
    'dataRow',
    'eachMessage',
    'emptyQueryResponse',
    'errorResponse',
    'handleConnection',
    'iamAuth',
    'noData',
    'noticeResponse',
    'notificationResponse',
    'parameterDescription',
    'parameterStatus',
    'parseComplete',
    'pgliteEngine',
    'portalSuspended',
    'postgresEngine',
    'readDataRow',
    'readFrontendMessage',
    'readyForQuery',
    'rowDescription',
    'startGateway',
    'startupPacket',
    'upstreamEngine',
  ],
  './knex': ['knexConfig', 'knexConnection', 'knexTransaction'],
  './kysely': ['kyselyDialect', 'kyselyTransaction'],
  './mikro-orm': ['mikroOrmOptions', 'mikroOrmTransaction'],
  './migrations': ['createMigrator', 'lintDsql', 'readMigrations', 'toDsqlStatements'],
  './pg': ['createClient', 'createPool', 'pgConfig', 'pgTransaction'],
  './postgres-js': ['createSql', 'postgresOptions', 'sqlTransaction'],
  './postgres-js-websocket': ['createWebSocketSql', 'sqlTransaction'],
  './prisma': ['prismaAdapter', 'prismaTransaction'],
  './register': [],
  './sign-in': [
    'createCommandLineSignIn',
    'createSignIn',
    'expressSessionStore',
    'fileStore',
    'memoryStore',
    'onBehalfOf',
    'webIdentity',
  ],
  './sequelize': ['sequelizeHook', 'sequelizeOptions', 'sequelizeTransaction'],
  './sequelize-7': ['sequelizeHook', 'sequelizeOptions', 'sequelizeTransaction'],
  './typeorm': ['typeormOptions', 'typeormPassword', 'typeormTransaction'],
}

/** The packages of the client of each entry, by what follows `pg-iam` in its name. */
const CLIENTS_OF: Readonly<Record<string, readonly string[]>> = {
  '': [],
  '/drizzle': ['drizzle-orm', 'pg'],
  '/drizzle-postgres-js': ['drizzle-orm', 'postgres'],
  '/gateway': [],
  '/knex': ['knex'],
  '/kysely': ['kysely', 'pg'],
  '/migrations': [],
  '/mikro-orm': [],
  '/pg': ['pg'],
  '/postgres-js': ['postgres'],
  '/postgres-js-websocket': ['postgres'],
  '/prisma': ['@prisma/adapter-pg', 'pg'],
  '/sequelize': ['sequelize'],
  '/sequelize-7': ['@sequelize/core', '@sequelize/postgres'],
  '/sign-in': ['pg'],
  '/typeorm': ['typeorm', 'pg'],
}

const { exports: EXPORTS } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Readonly<Record<string, { import: { types: string } }>>
}

/** The packages that a declaration file and those that it imports name. */
function packagesOfTypes(file: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>()
  if (seen.has(file)) return packages
  seen.add(file)
  const source = readFileSync(file, 'utf8')
  for (const [, specifier = ''] of source.matchAll(/(?:from|import\()\s*['"]([^'"]+)['"]/g)) {
    if (specifier.startsWith('.')) {
      const next = join(dirname(file), specifier.replace(/\.([cm]?)js$/, '.d.$1ts'))
      for (const name of packagesOfTypes(next, seen)) packages.add(name)
    } else {
      const parts = specifier.split('/')
      packages.add(parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/'))
    }
  }
  return packages
}

describe('the built package', () => {
  it.each([
    ['CommonJS', "const pgIam = require('./dist/cjs/core/index.js')"],
    ['ESM', "import * as pgIam from './dist/esm/core/index.js'"],
  ])(
    'loads no other package (%s) before the first token, and then only the required ones',
    async (_label, load) => {
      const { result } = await runNode(`
      import { createRequire } from 'node:module'
      const require = createRequire(import.meta.resolve('pg-iam/package.json'))
      ${load}
      const peers = ${JSON.stringify(PEERS_OF_AWS)}
      const loaded = () => {
        const paths = Object.keys(require.cache).filter((path) => path.includes('node_modules'))
        const found = peers.filter((name) => paths.some((path) => path.includes('/node_modules/' + name + '/')))
        return found.length > 0 ? found : paths
      }
      const login = pgIam.auroraDsql(${OPTIONS})
      pgIam.auroraDsql({ host: '${HOST}', user: 'app', profile: 'x', assumeRole: { roleArn: 'arn:aws:iam::123456789012:role/x' } })
      pgIam.loginFromUrl('postgres://app@${HOST}')
      pgIam.rds({ host: '${RDS_HOST}', user: 'app' })
      const steps = { made: loaded() }
      await pgIam.auroraDsql({ ...${OPTIONS}, signer: 'built-in' }).token()
      await pgIam.rds({ ...${OPTIONS}, host: '${RDS_HOST}', signer: 'built-in' }).token()
      steps.builtIn = loaded()
      await login.token()
      steps.signed = loaded()
      await pgIam.auroraDsql({ host: '${HOST}', user: 'app', profile: 'none' }).token().catch(() => {})
      steps.lookedFor = loaded()
      console.log(JSON.stringify(steps))
    `)
      expect(result).toEqual({
        made: [],
        builtIn: [],
        signed: ['@aws-sdk/dsql-signer'],
        lookedFor: ['@aws-sdk/dsql-signer', '@aws-sdk/credential-providers'],
      })
    },
  )

  it.each(['cjs', 'esm'])(
    'loads none of the slow modules of Node (%s) before a token is signed, and then only a few',
    async (format) => {
      const { result } = await runNode(`
      // In an ES module, to import \`node:fs\` or \`node:util\` reads all that they export, and loads what is behind that.
      const slow = ['net', 'crypto', 'tls', 'dns', 'http', 'stream', 'worker_threads']
      const before = process.moduleLoadList.map(String)
      const loaded = () => slow.filter((name) => !before.includes('NativeModule ' + name) && process.moduleLoadList.includes('NativeModule ' + name))
      const pgIam = await import('./dist/${format}/core/index.js')
      const login = pgIam.auroraDsql({ ...${OPTIONS}, signer: 'built-in' })
      pgIam.rds({ host: 'shop.c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com', user: 'app' })
      pgIam.entra({ host: 'shop.postgres.database.azure.com' })
      pgIam.cloudSql({ host: 'a1b2c3d4e5f6.g7h8i9j0k1l2.europe-west1.sql.goog', user: 'app@shop.iam' })
      const made = loaded()
      await login.token()
      const signed = loaded()
      pgIam.auroraDsql({ ...${OPTIONS}, connectTo: { host: '::1', port: 1 } })
      console.log(JSON.stringify({ made, signed, address: loaded().includes('net') }))
    `)
      // The stream that `streamFactory` returns extends one of Node.
      expect(result).toEqual({ made: ['stream'], signed: ['crypto', 'stream'], address: true })
    },
  )

  it('has exactly the documented exports, with import and with require', async () => {
    const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: object }
    const subpaths = Object.keys(exports).filter((subpath) => subpath !== './package.json')
    const { result } = await runNode(`
      import { createRequire } from 'node:module'
      const require = createRequire(import.meta.resolve('pg-iam/package.json'))
      const subpaths = ${JSON.stringify(subpaths)}
      const names = (module) => Object.keys(module).filter((name) => name !== '__esModule').toSorted()
      const found = {}
      for (const subpath of subpaths) {
        const name = 'pg-iam' + subpath.slice(1)
        found[subpath] = { imported: names(await import(name)), required: names(require(name)) }
      }
      console.log(JSON.stringify(found))
    `)
    const expected = Object.entries(EXPORT_NAMES).map(([subpath, names]) => [
      subpath,
      { imported: names, required: names },
    ])
    expect(result).toEqual(Object.fromEntries(expected))
  })

  it.each(Object.entries(CLIENTS_OF))(
    'is required as pg-iam%s in CommonJS where no client but %j is installed',
    async (subpath, clients) => {
      const { result } = await runNode(`
        import Module, { createRequire } from 'node:module'
        const require = createRequire(import.meta.resolve('pg-iam/package.json'))
        const known = ${JSON.stringify([...new Set(Object.values(CLIENTS_OF).flat())])}
        const missing = known.filter((name) => !${JSON.stringify(clients)}.includes(name))
        const resolve = Module._resolveFilename
        Module._resolveFilename = function (request, parent, ...rest) {
          // What a client itself loads is there.
          if (!parent.filename.includes('/node_modules/') && missing.some((name) => request === name || request.startsWith(name + '/')))
            throw Object.assign(new Error("Cannot find module '" + request + "'"), { code: 'MODULE_NOT_FOUND' })
          return resolve.call(this, request, parent, ...rest)
        }
        console.log(Object.keys(require('pg-iam${subpath}')).length > 0)
      `)
      expect(result).toBe(true)
    },
  )

  it.each(Object.entries(CLIENTS_OF))(
    'has types for pg-iam%s that need no package but those of %j',
    (subpath, clients) => {
      const entry = EXPORTS[`.${subpath}`]!.import.types
      const named = [...packagesOfTypes(join(process.cwd(), entry))]
      const others = named.filter(
        (name) => !clients.includes(name) && !name.startsWith('node:') && name !== 'pg-iam',
      )
      expect(others).toEqual([])
    },
  )

  it("has two copies that recognise each other's errors and logins", async () => {
    const { result } = await runNode(`
      import { checkTwoCopies } from './test/package/two-copies.mjs'
      await checkTwoCopies()
      console.log('true')
    `)
    expect(result).toBe(true)
  })

  it('consists of a few files', () => {
    const modules = (format: string): string[] =>
      readdirSync(join('dist', format), { recursive: true, encoding: 'utf8' }).filter((path) =>
        /\.c?js$/.test(path),
      )
    for (const format of ['esm', 'cjs', 'cli', 'register'])
      expect(modules(format).length).toBeLessThan(34)
  })

  it('is a bundle for browsers without polyfills and without modules of Node, of at most 265,000 bytes', async () => {
    const entry = `
      import { auroraDsql } from 'pg-iam'
      import { createWebSocketSql } from 'pg-iam/postgres-js-websocket'
      globalThis.open = [auroraDsql, createWebSocketSql]`
    const { outputFiles, warnings } = await build({
      stdin: { contents: entry, resolveDir: process.cwd() },
      bundle: true,
      minify: true,
      write: false,
      format: 'esm',
      platform: 'browser',
      external: ['@aws-sdk/dsql-signer'],
    })
    expect(warnings).toEqual([])
    const [{ text, contents }] = outputFiles as [OutputFile]
    expect(text.match(/(?:import|from|require)\W{1,3}node:/g)).toBeNull()
    expect(contents.length).toBeLessThanOrEqual(265_000)
  })

  it('lets a process exit that has created a token and has no other work', async () => {
    const { result } = await runNode(`
      import { auroraDsql } from './dist/esm/core/index.js'
      const login = auroraDsql({ ...${OPTIONS}, reuseTokenSecs: 3600, tokenTimeoutMs: 600000, connectTimeoutMs: 600000 })
      await login.token()
      console.log(JSON.stringify(process.getActiveResourcesInfo().filter((name) => name === 'Timeout')))
    `)
    expect(result).toEqual([])
  })
})

describe('a process with NODE_TLS_REJECT_UNAUTHORIZED=0', () => {
  it('still verifies TLS, and sends nothing to an untrusted server', async () => {
    const standIn = await startStandIn(async (socket, keys) => {
      await acceptTls(socket, keys)
    })
    try {
      const options = JSON.stringify({
        host: HOST,
        user: 'app',
        credentials: CREDENTIALS,
        connectTo: { host: '127.0.0.1', port: standIn.port },
      })
      const { result } = await runNode(
        `
        import { auroraDsql } from './dist/esm/core/index.js'
        import { createClient } from './dist/esm/adapters/pg.js'
        const error = await createClient(auroraDsql(${options})).connect().catch((error) => error)
        console.log(JSON.stringify({ code: error.code }))
        `,
        { env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } },
      )
      expect(result).toEqual({
        code: expect.stringMatching(/^(UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|CERT_)/),
      })
      await standIn.idle()
    } finally {
      await standIn.close()
    }
  })
})
