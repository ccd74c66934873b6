/** Logins for TypeORM. */
import * as pg from 'pg'
import type { Pool, PoolConfig } from 'pg'
import type { DataSource, DataSourceOptions, EntityManager, QueryRunner } from 'typeorm'
import {
  checkDriverOptions,
  jitteredMaxLifetime,
  OWNED_OF_PG,
  type OwnedByLogin,
} from '../core/connection/driver-options.js'
import {
  createStreamFactory,
  loginOfFactory,
  markWithLogin,
} from '../core/connection/login-stream.js'
import { PgIamError } from '../core/errors.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import type { Login } from '../core/login.js'
import {
  type Check,
  checkClient,
  checkOptions,
  describeValue,
  type Explicit,
  invalidOption,
  isPlainObject,
  oneOf,
} from '../core/options/check.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'
import { unverified, type VerifiedTls, weakens } from '../core/tls.js'
import { RETRY_CHECKS, type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import {
  type DsqlMigrationsOption,
  dsqlMigrationsOf,
  refuseTransactions,
} from '../migrations/in-options.js'
import { isOnlyLevel, withoutDefaultLevel } from '../core/transactions/only-isolation-level.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import {
  endsTransaction,
  type TransactionConnection,
  transactionOver,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'

/** TypeORM's options for PostgreSQL. */
export type TypeormPostgresOptions = Extract<DataSourceOptions, { type: 'postgres' }>

/** TypeORM's options, with logins in place of the addresses of replicas. */
export interface TypeormLoginOptions extends Partial<Omit<TypeormPostgresOptions, 'replication'>> {
  replication?: TypeormReplication
}

/**
 * Options of frameworks, in the same object as TypeORM's own: `@nestjs/typeorm` (10 and 11) and typeorm-extension (3). They are passed on
 * unchanged. For another framework give its options type: `typeormOptions<TheirOptions>(login, options)`.
 */
export interface TypeormFrameworkOptions {
  autoLoadEntities?: boolean
  keepConnectionAlive?: boolean
  manualInitialization?: boolean
  name?: string
  retryAttempts?: number
  /** Milliseconds. */
  retryDelay?: number
  toRetry?(error: unknown): boolean
  verboseRetryLog?: boolean
  factories?: ClassOrFiles[]
  factoriesLoad?: boolean
  seedName?: string
  seeds?: ClassOrFiles[]
  seedTracking?: boolean
}

/** A class or a path. The frameworks have different types for the class, and must accept the result. */
// oxlint-disable-next-line no-explicit-any
type ClassOrFiles = any

/**
 * Returns the options for `new DataSource()`. Each physical connection logs in with its own token.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * @param given the server to write to, and to read from without replicas: a login, or a URL for {@link loginFromUrl}
 * @param options the options of `new DataSource()` for PostgreSQL, except address, user, password and TLS, which the login determines. Read
 * replicas are given as logins or URLs, `replication: { slaves: [login] }`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines
 */
export function typeormOptions<Framework extends object = {}>(
  given: LoginOrUrl,
  options?: (Partial<TypeormPostgresOptions> | TypeormLoginOptions) &
    TypeormFrameworkOptions &
    DsqlMigrationsOption &
    Explicit<Framework>,
): TypeormPostgresOptions & TypeormFrameworkOptions & Explicit<Framework>
export function typeormOptions(
  given: LoginOrUrl,
  {
    dsqlMigrations,
    ...options
  }: (Partial<TypeormPostgresOptions> | TypeormLoginOptions) & DsqlMigrationsOption = {},
): TypeormPostgresOptions {
  const login = loginOf(given)
  const tables = [options.migrationsTableName ?? 'migrations']
  const through = dsqlMigrationsOf(login, dsqlMigrations, 'typeorm', tables, {
    catalog: INDEX_TYPE,
  })
  if (through !== undefined)
    refuseTransactions('migrationsTransactionMode', options.migrationsTransactionMode, 'none')
  refuseOtherDatabases(options)
  const { replication: givenReplication, ...rest } = withoutDefaultLevel(
    login,
    options,
  ) as typeof options
  const replication = checkReplication(givenReplication)
  const { extra = {} } = options as { extra?: Extra }
  checkDriverOptions(login, rest, OWNED)
  checkDriverOptions(login, extra, OWNED_OF_PG, 'extra.')
  const parameters = [
    ...givenParameters(rest, { applicationName: 'application_name' }),
    ...givenParameters(extra, PG_STARTUP_OPTIONS, 'extra.'),
  ]
  const tlsOf = (own: Login): VerifiedTls => {
    const tls = checkDriverOptions(own, extra, TLS_OWNED, 'extra.')
    return tls.ca === undefined ? checkDriverOptions(own, rest, TLS_OWNED) : tls
  }
  // Without `native`: TypeORM uses pg-native if it is installed, which does not support `stream`.
  const driver = (options.driver ?? { ...pg, native: undefined }) as typeof pg
  return {
    ...(login.provider === 'aurora-dsql' && NO_EXTENSIONS),
    ...(through && DSQL_MIGRATIONS),
    ...rest,
    type: 'postgres',
    ...addressOf(login),
    ...replicated(login, replication),
    driver:
      replication === undefined
        ? driver
        : { ...driver, Pool: poolOfLogins(driver.Pool, tlsOf, parameters) },
    extra: {
      ...jitteredMaxLifetime(login),
      ...extra,
      // `extra` overrides the options above. Both are set explicitly, since pg would otherwise read PGSSLMODE and PGSSLNEGOTIATION.
      ssl: false,
      sslnegotiation: 'postgres',
      stream: createStreamFactory(login, {
        tls: tlsOf(login),
        given: parameters,
        ...(through && { through }),
      }),
    },
  }
}

/**
 * The indexes of Aurora DSQL are of the type `btree_index`. TypeORM (1.1) compares it with `btree`, and would drop and create every index
 * with each migration that it generates.
 */
const INDEX_TYPE = [
  '"am"."amname" AS "index_type"',
  `CASE "am"."amname" WHEN 'btree_index' THEN 'btree' ELSE "am"."amname" END AS "index_type"`,
] as const

/**
 * Aurora DSQL has no extensions; `gen_random_uuid()` is built in. TypeORM (1.1) sends `CREATE EXTENSION` on its first connection if an entity
 * has a generated UUID, and logs that it failed.
 */
const NO_EXTENSIONS = { installExtensions: false, uuidExtension: 'pgcrypto' } as const

const DSQL_MIGRATIONS = { migrationsTransactionMode: 'none' } as const

/** TypeORM's types reject it too, but options are often read from a file or the environment. */
function refuseOtherDatabases({ type }: { type?: unknown }): void {
  if (type === undefined || type === 'postgres') return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"type" must be "postgres" with a login, got ${describeValue(type)}`,
  )
}

/**
 * Returns a password function for `new DataSource({ password })`, which returns a token for each physical connection.
 *
 * Host, user and TLS are your own options. Prefer `typeormOptions`, which takes them from the login and keeps TLS verified.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * The function rejects with `ERR_TLS_UNVERIFIED` if the connection does not use verified TLS, and as the login's `token()`.
 */
export function typeormPassword(given: LoginOrUrl): () => Promise<string> {
  const login = loginOf(given)
  // pg calls it as a method of the client, with the connection's parameters. TypeORM's type has neither.
  async function password(this: unknown, ...connection: unknown[]): Promise<string> {
    const [parameters] = connection
    return answerPasswordRequest({ client: this, parameters }, async () => {
      if (isPlainObject(parameters)) refuseWeakTls(parameters)
      return login.password()
    })
  }
  return markWithLogin(password, login)
}

function refuseWeakTls({ ssl }: { ssl?: unknown }): void {
  if (ssl === undefined || weakens(ssl)) throw unverified('ssl')
}

/** Options for BEGIN and for retries. */
export interface TypeormTransactionOptions extends RetryOptions {
  /** Default: the server's. */
  isolationLevel?: 'READ UNCOMMITTED' | 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE'
}

/**
 * Runs `fn` in a TypeORM transaction, and retries it as a whole after a conflict.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then.
 */
export async function typeormTransaction<T>(
  dataSource: DataSource,
  fn: (manager: EntityManager) => Promise<T>,
  options: TypeormTransactionOptions = {},
): Promise<T> {
  checkClient(dataSource, 'dataSource', ['createQueryRunner'], 'what new DataSource() returns')
  const { retry, own } = splitRetryOptions(options)
  const { isolationLevel: given } = checkOptions(own, TRANSACTION_CHECKS)
  const login = loginOfDataSource(dataSource)
  const isolationLevel = isOnlyLevel(login, given) ? undefined : given
  return runTransaction({
    client: dataSource,
    login,
    retry,
    fn,
    attempt: (work, connected) => runOnRunner(dataSource, isolationLevel, work, connected),
  })
}

/** Creates its own query runner, since that of `dataSource.transaction()` is not accessible before BEGIN. */
async function runOnRunner<T>(
  dataSource: DataSource,
  isolationLevel: TypeormTransactionOptions['isolationLevel'],
  work: (manager: EntityManager) => Promise<T>,
  connected: (connection: TransactionConnection | undefined) => void,
): Promise<T> {
  const runner = dataSource.createQueryRunner()
  try {
    connected(watchPgClient(await runner.connect()))
    const scopedWork = async (manager: EntityManager): Promise<T> => {
      const scope = scopeRunner(runner)
      try {
        return await work(manager)
      } finally {
        scope.end()
      }
    }
    return await (isolationLevel === undefined
      ? runner.manager.transaction(scopedWork)
      : runner.manager.transaction(isolationLevel, scopedWork))
  } finally {
    await runner.release()
  }
}

function loginOfDataSource({ options }: DataSource): Login | undefined {
  const { extra, password } = (options ?? {}) as { extra?: Extra; password?: unknown }
  return loginOfFactory(extra?.['stream']) ?? loginOfFactory(password)
}

const TRANSACTION_CHECKS = {
  ...RETRY_CHECKS,
  isolationLevel: oneOf('READ UNCOMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'),
} as const

type Extra = Record<string, unknown>

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  username: 'user',
  database: 'database',
  password: 'password',
  url: 'url',
  ssl: 'tls',
}

const TLS_OWNED: Readonly<Record<string, OwnedByLogin>> = { ssl: 'tls' }

// Password functions for pg.

/** The client that requests a password, and the parameters of its connection. pg's types lack some of them. */
interface PasswordRequest {
  readonly client: unknown
  readonly parameters: unknown
}

/**
 * Resolves with the result of `password`, and prevents pg from exposing it: pg stores it in two properties, which `util.inspect` with
 * `showHidden` prints. If `password` fails, the connection is closed: pg would leave it open until the server's timeout, which can take a
 * minute.
 */
async function answerPasswordRequest(
  { client, parameters }: PasswordRequest,
  password: () => Promise<string>,
): Promise<string> {
  try {
    const answer = await password()
    hidePassword(client)
    hidePassword(parameters)
    return answer
  } catch (error) {
    // Delayed, so that pg receives the error before the end of the connection.
    setImmediate(closeConnection, client)
    throw error
  }
}

function hidePassword(owner: unknown): void {
  if (typeof owner !== 'object' || owner === null) return
  let hidden: unknown
  Object.defineProperty(owner, 'password', {
    get: () => hidden,
    set: (value) => {
      hidden = value
    },
    configurable: true,
    enumerable: false,
  })
}

function closeConnection(client: unknown): void {
  const { connection } = (client ?? {}) as { connection?: { stream?: { destroy?: () => void } } }
  connection?.stream?.destroy?.()
}

// The query runner of a TypeORM transaction, limited to that transaction.

/**
 * Makes `runner` reject statements after `end()`. TypeORM (1.1) rejects them once it has released the runner, after the reply to COMMIT. A
 * statement sent during COMMIT would run after it, outside the transaction.
 */
function scopeRunner(runner: QueryRunner): { end(): void } {
  const query: (...args: unknown[]) => Promise<unknown> = runner.query.bind(runner) as never
  const stream: (...args: unknown[]) => Promise<unknown> = runner.stream.bind(runner) as never
  let isOver = false
  Object.assign(runner, {
    query: (...args: unknown[]) =>
      isOver && !endsTransaction(args[0]) ? Promise.reject(transactionOver()) : query(...args),
    stream: (...args: unknown[]) => (isOver ? Promise.reject(transactionOver()) : stream(...args)),
  })
  return {
    end: () => {
      isOver = true
    },
  }
}

// TypeORM's `replication` option, with logins in place of addresses.

/** The replicas to read from. Writes go to the login that is the first argument. */
export interface TypeormReplication {
  /** The logins or URLs of the replicas, or of a reader endpoint. If empty, TypeORM also reads from the writer. */
  slaves: readonly LoginOrUrl[]
  /** The default server for SELECT queries. Default: TypeORM's, `'slave'`. */
  defaultMode?: 'master' | 'slave'
}

/** The same, with a login for each replica. */
interface CheckedReplication extends TypeormReplication {
  slaves: readonly Login[]
}

/** Throws `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT`. */
function checkReplication(given: unknown): CheckedReplication | undefined {
  if (given === undefined) return undefined
  const { slaves, defaultMode } = checkOptions(given, CHECKS, 'replication.')
  if (slaves === undefined) throw invalidOption('replication.slaves', LOGINS, undefined)
  return { slaves, ...(defaultMode === undefined ? {} : { defaultMode }) }
}

/** The address of a login's server, for TypeORM. */
function addressOf(login: Login): TypeormAddress {
  return {
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    ssl: false,
  }
}

interface TypeormAddress {
  host: string
  port: number
  database: string
  username?: string
  ssl: false
}

/** TypeORM's `replication` option, if there are replicas. */
function replicated(
  writer: Login,
  replication: CheckedReplication | undefined,
): { replication?: ReplicationOption } {
  if (replication === undefined) return {}
  const { slaves, defaultMode } = replication
  return {
    replication: {
      master: serverOf(writer),
      slaves: slaves.map(serverOf),
      ...(defaultMode === undefined ? {} : { defaultMode }),
    },
  }
}

interface ReplicationOption {
  master: TypeormServer
  slaves: TypeormServer[]
  defaultMode?: 'master' | 'slave'
}

interface TypeormServer extends TypeormAddress {
  password: () => Promise<string>
}

/**
 * TypeORM passes the same `extra` to all pools, so they would have the same socket function. The password function, which is never called,
 * identifies the login for {@link poolOfLogins}.
 */
function serverOf(login: Login): TypeormServer {
  return { ...addressOf(login), password: markWithLogin(() => login.password(), login) }
}

/** Returns a pool class that takes the login from the marked password function. */
function poolOfLogins(
  BasePool: typeof Pool,
  tlsOf: (login: Login) => VerifiedTls,
  given: readonly string[],
): typeof Pool {
  return class PoolOfLogin extends BasePool {
    constructor(config: PoolConfig = {}) {
      const login = loginOfFactory(config.password)
      super(login === undefined ? config : withLogin(config, login, tlsOf(login), given))
    }
  }
}

function withLogin(
  config: PoolConfig,
  login: Login,
  tls: VerifiedTls,
  given: readonly string[],
): PoolConfig {
  const { password: _mark, maxLifetimeSeconds, ...rest } = config
  // A number is from the caller. The jittered value, which is from the writer's login, is an object.
  const isGiven = typeof maxLifetimeSeconds === 'number'
  return {
    ...rest,
    ...(isGiven ? { maxLifetimeSeconds } : jitteredMaxLifetime(login)),
    stream: createStreamFactory(login, { tls, given }),
  }
}

const LOGINS = 'a list of logins, such as rds() returns'

const slaves: Check<readonly Login[]> = (value, name) => {
  if (!Array.isArray(value)) throw invalidOption(name, LOGINS, value)
  return value.map((each, index) => loginOf(each as LoginOrUrl, `${name}[${index}]`))
}

const master: Check<never> = (_value, name) => {
  throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given with a login`, {
    hint: 'Pass the login of the writer as the first argument, and those of the replicas as replication: { slaves: [login] }.',
  })
}

const CHECKS = { master, slaves, defaultMode: oneOf('master', 'slave') } as const
