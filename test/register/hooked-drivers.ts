/**
 * pg and Postgres.js as `pg-iam/register` hands them to an application of this process, for the contract of the adapters.
 *
 * The tests of jest have a `require`, a `Date` and an `Error` of their own. The hooks are those of Node, so the drivers are loaded outside
 * of the sandbox, by the `require` that any program has.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isNativeError } from 'node:util/types'
import { constants, Script } from 'node:vm'
import type { Login } from '../../core/index.js'
import type { TemporaryCredentials } from '../../gateway/index.js'
import { loginOfFactory } from '../../core/connection/login-stream.js'
import { openPool, poolOptions } from '../clients/pg.js'
import { openSql, postgresJsOptions } from '../clients/postgres-js.js'
import type { ClientEntry, OpenClient } from '../clients/client.js'
import type { ContractProvider, Request } from '../support/adapter-contract/contract-provider.js'
import { type LoopbackServer, startLoopback } from '../support/issuers/loopback-server.js'

const outside = (code: string): unknown =>
  new Script(code, {
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  }).runInThisContext() as unknown

const node = outside('globalThis') as typeof globalThis

export interface HookedDrivers {
  readonly pg: ClientEntry
  readonly postgres: ClientEntry
  /** The provider with logins that the hook makes from the environment alone. */
  provider(provider: ContractProvider): ContractProvider
  /** The environment of a process that logs in as `login` does. */
  environmentOf(login: Login): Readonly<Record<string, string>>
}

/** What the hook needs to make the login that a test wants, and the login that it made. */
interface Wanted {
  readonly request: Request
  readonly environment: Readonly<Record<string, string>>
  made?: Login
}

/** Loads the hooks, then the drivers, before the tests of a file. */
export function useHookedDrivers(): HookedDrivers {
  const folder = mkdtempSync(join(tmpdir(), 'pg-iam-hooked-'))
  const ca = join(folder, 'ca.pem')
  const wanted = new WeakMap<Login, Wanted>()
  const before = { ...node.process.env }
  let current: Request = () => undefined
  let count = 0
  let endpoint: LoopbackServer
  let pg: typeof import('pg')
  let postgres: typeof import('postgres')
  let restore = (): void => {}

  beforeAll(async () => {
    restore = shareRealm()
    endpoint = await startLoopback(async () => ({ body: containerAnswer(await current()) }))
    const load = outside('(url) => import(url)') as (url: string) => Promise<unknown>
    await load(pathToFileURL(join(process.cwd(), 'dist/register/index.js')).href)
    pg = node.process.mainModule!.require('pg') as typeof pg
    postgres = node.process.mainModule!.require('postgres') as typeof postgres
  })
  afterAll(async () => {
    restore()
    setEnvironment(before, /./)
    rmSync(folder, { recursive: true })
    await endpoint?.close()
  })

  const wantedFor = (login: Login): Wanted => {
    const found = wanted.get(login)
    if (found === undefined) throw new Error('the login is not one of this provider')
    return found
  }
  const enter = (login: Login): Wanted => {
    const found = wantedFor(login)
    current = found.request
    setEnvironment(found.environment, /^(?:AWS_|PG)/)
    return found
  }
  const opened = (found: Wanted, factory: unknown, client: OpenClient): OpenClient => {
    const login = loginOfFactory(factory)
    if (login === undefined) throw new Error('the hook made no login for this connection')
    found.made = login
    return client
  }
  const shared = {
    refusesAt: 'construction',
    refusals: [],
    takesAgedBack: true,
    retiresIdle: true,
  } as const
  return {
    pg: {
      ...shared,
      name: 'new pg.Pool',
      own: 'none',
      reopensEarly: false,
      options: poolOptions,
      open(login, options) {
        const { host, port, user, database } = login
        const found = enter(login)
        const pool = new pg.Pool({ ...options, host, port, database, ...(user && { user }) })
        return opened(found, pool.options.stream, openPool(pool))
      },
    },
    postgres: {
      ...shared,
      name: 'postgres()',
      own: 'protected',
      reopensEarly: true,
      options: postgresJsOptions,
      open(login, options) {
        const { host, port, user, database } = login
        const found = enter(login)
        const sql = postgres(`postgres://${user}@${host}:${port}/${database}`, options)
        const { socket } = sql.options as { socket?: unknown }
        return opened(found, socket, openSql(sql))
      },
    },
    environmentOf(login) {
      const found = wantedFor(login)
      current = found.request
      return found.environment
    },
    provider: (provider) => ({
      ...provider,
      login(options, request) {
        const login = provider.login(options, request)
        writeFileSync(ca, String(login.tls.ca))
        const { host, port } = login.connectTo ?? login
        const entry: Wanted = {
          request,
          environment: {
            AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.url,
            AWS_EC2_METADATA_DISABLED: 'true',
            PG_IAM_CONNECT_TO: `${host}:${port}`,
            PGSSLROOTCERT: ca,
            // Each test has a login of its own, and the hook makes one for each environment.
            PGAPPNAME: `login-${++count}`,
          },
        }
        const properties = Object.getOwnPropertyDescriptors(login)
        const stats: PropertyDescriptor = { value: () => (entry.made ?? login).stats() }
        const known = Object.defineProperties({}, { ...properties, stats }) as Login
        wanted.set(known, entry)
        return known
      },
      async start() {
        const stand = await provider.start()
        return {
          ...stand,
          // A container's credentials are temporary.
          issueForever: async (gateway) =>
            (await stand.issue(gateway, { durationSecs: 3_600 })).given,
          // The hook signs by itself: nothing else in this process sees its tokens. Each contains this.
          watchSecrets: () => () => ['X-Amz-Signature='],
        }
      },
    }),
  }
}

/** Credentials as the endpoint of a container returns them. */
function containerAnswer(given: unknown): object {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = given as TemporaryCredentials
  return {
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretAccessKey,
    Token: sessionToken,
    Expiration: expiration.toISOString(),
  }
}

/** Replaces the variables with these names. The tests of jest have a copy of the environment. */
function setEnvironment(variables: NodeJS.ProcessEnv, names: RegExp): void {
  for (const name of Object.keys(node.process.env))
    if (names.test(name)) Reflect.deleteProperty(node.process.env, name)
  Object.assign(node.process.env, variables)
}

/** Outside, the date is the one that a test sets. Inside, errors of the outside are errors. Returns the way back. */
function shareRealm(): () => void {
  const { Date: RealDate } = node
  node.Date = new Proxy(RealDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [Date.now()] : args, newTarget) as object,
    get: (target, name, receiver) =>
      name === 'now' ? () => Date.now() : (Reflect.get(target, name, receiver) as unknown),
  })
  const inherited = Function.prototype[Symbol.hasInstance]
  Object.defineProperty(Error, Symbol.hasInstance, {
    configurable: true,
    value(this: unknown, value: unknown) {
      return this === Error ? isNativeError(value) : inherited.call(this as Function, value)
    },
  })
  return () => {
    node.Date = RealDate
    Reflect.deleteProperty(Error, Symbol.hasInstance)
  }
}
