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
import { runTransaction } from '../core/transactions/run-transaction.js'
import {
  endsTransaction,
  type TransactionConnection,
  transactionOver,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'

/** TypeORM's options for PostgreSQL. */
export type TypeormPostgresOptions = Extract<DataSourceOptions, { type: 'postgres' }>

/** The same, with logins where TypeORM takes the addresses of replicas. */
export interface TypeormLoginOptions extends Partial<Omit<TypeormPostgresOptions, 'replication'>> {
  replication?: TypeormReplication
}

/**
 * Options that frameworks take beside TypeORM's own, in the same object: `@nestjs/typeorm` (10 and 11) and typeorm-extension (3).
 * They are passed on as they are. For another framework name its options: `typeormOptions<TheirOptions>(login, options)`.
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

/** A class, or a path. Each framework has a type of its own for the class, and goes on to take what is given here. */
// oxlint-disable-next-line no-explicit-any
type ClassOrFiles = any

/**
 * Returns the options for `new DataSource()`: every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * @param given where TypeORM writes to, and reads from unless `options` name replicas: a login, or a URL for {@link loginFromUrl}
 * @param options whatever `new DataSource()` takes for PostgreSQL, but for the address, the user, the password and TLS, which are
 * the login's; read replicas are given as logins or URLs, `replication: { slaves: [login] }`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function typeormOptions<Framework extends object = {}>(
  given: LoginOrUrl,
  options?: (Partial<TypeormPostgresOptions> | TypeormLoginOptions) &
    TypeormFrameworkOptions &
    Explicit<Framework>,
): TypeormPostgresOptions & TypeormFrameworkOptions & Explicit<Framework>
export function typeormOptions(
  given: LoginOrUrl,
  options: Partial<TypeormPostgresOptions> | TypeormLoginOptions = {},
): TypeormPostgresOptions {
  const login = loginOf(given)
  refuseOtherDatabases(options)
  const { replication: givenReplication, ...rest } = options
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
  // Without `native`: TypeORM takes pg-native wherever that is installed, and it knows no `stream`.
  const driver = (options.driver ?? { ...pg, native: undefined }) as typeof pg
  return {
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
      // `extra` beats the options above it. Both are said aloud, because pg reads PGSSLMODE and PGSSLNEGOTIATION where they
      // are left out.
      ssl: false,
      sslnegotiation: 'postgres',
      stream: createStreamFactory(login, { tls: tlsOf(login), given: parameters }),
    },
  }
}

/** TypeORM's types refuse it, too. But options are often read from a file, or from the environment. */
function refuseOtherDatabases({ type }: { type?: unknown }): void {
  if (type === undefined || type === 'postgres') return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"type" must be "postgres" with a login, got ${describeValue(type)}`,
  )
}

/**
 * Returns a password function for `new DataSource({ password })`: a token for each physical connection.
 *
 * Host, user and TLS stay yours, so prefer `typeormOptions`, which takes them from the login and keeps them verified.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * The function rejects with `ERR_TLS_UNVERIFIED` where the connection has no verified TLS, and as the login's `token()`.
 */
export function typeormPassword(given: LoginOrUrl): () => Promise<string> {
  const login = loginOf(given)
  // pg calls it as a method of the client, with the parameters of the connection; TypeORM's type says neither.
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

/** How a transaction begins, and how it is retried. */
export interface TypeormTransactionOptions extends RetryOptions {
  /** Default: the server's. */
  isolationLevel?: 'READ UNCOMMITTED' | 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE'
}

/**
 * Runs `fn` in a transaction of TypeORM, and again as a whole when it met a conflict.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost after COMMIT was written; then nothing is retried.
 */
export async function typeormTransaction<T>(
  dataSource: DataSource,
  fn: (manager: EntityManager) => Promise<T>,
  options: TypeormTransactionOptions = {},
): Promise<T> {
  checkClient(dataSource, 'dataSource', ['createQueryRunner'], 'what new DataSource() returns')
  const { retry, own } = splitRetryOptions(options)
  const { isolationLevel } = checkOptions(own, TRANSACTION_CHECKS)
  return runTransaction({
    client: dataSource,
    login: loginOfDataSource(dataSource),
    retry,
    fn,
    attempt: (work, connected) => runOnRunner(dataSource, isolationLevel, work, connected),
  })
}

/** On a runner that is made here, because that of `dataSource.transaction()` is not known before BEGIN. */
async function runOnRunner<T>(
  dataSource: DataSource,
  isolationLevel: TypeormTransactionOptions['isolationLevel'],
  work: (manager: EntityManager) => Promise<T>,
  connected: (connection: TransactionConnection | undefined) => void,
): Promise<T> {
  const runner = dataSource.createQueryRunner()
  try {
    connected(watchPgClient(await runner.connect()))
    const lent = async (manager: EntityManager): Promise<T> => {
      const lease = lendRunner(runner)
      try {
        return await work(manager)
      } finally {
        lease.end()
      }
    }
    return await (isolationLevel === undefined
      ? runner.manager.transaction(lent)
      : runner.manager.transaction(isolationLevel, lent))
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

// Does what pg leaves undone where its password comes from a function.

/** The client that asks, and what it knows of its connection. Not all of it is in pg's types. */
export interface PasswordRequest {
  readonly client: unknown
  readonly parameters: unknown
}

/**
 * Resolves with what `password` gives, after pg was kept from showing it: pg stores it in two properties, which
 * `util.inspect` with `showHidden` prints. Where it fails, the connection is closed: pg would leave it open until the
 * server loses patience, which can take a minute for each.
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
    // Later, because pg must hear of the error before it hears of the connection's end.
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

// The query runner of a transaction of TypeORM, lent to the transaction's function and to nothing after it.

/**
 * Has `runner` refuse statements from `end()` on. TypeORM (1.1) refuses them once it has released the runner, which is when
 * COMMIT was answered; one that comes while that is under way would run behind it, by itself.
 */
function lendRunner(runner: QueryRunner): { end(): void } {
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

// The `replication` option of TypeORM, with logins in the place of addresses.

/** Where TypeORM reads from; it writes to the login that is given first. */
export interface TypeormReplication {
  /** The logins of the replicas, or of one reader endpoint, or their URLs. Without any TypeORM reads from the writer, too. */
  slaves: readonly LoginOrUrl[]
  /** Where SELECT queries go by themselves. Default: TypeORM's, `'slave'`. */
  defaultMode?: 'master' | 'slave'
}

/** The same, with a login for each. */
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

/** Where TypeORM finds the server of a login. */
function addressOf(login: Login): TypeormAddress {
  return {
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    ssl: false,
  }
}

export interface TypeormAddress {
  host: string
  port: number
  database: string
  username?: string
  ssl: false
}

/** The option as TypeORM takes it, where there is to be replication. */
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
 * TypeORM gives all pools the same `extra`, and with it the same socket. So a password function, which is never called, tells
 * {@link poolOfLogins} whose socket this one is to have.
 */
function serverOf(login: Login): TypeormServer {
  return { ...addressOf(login), password: markWithLogin(() => login.password(), login) }
}

/** Returns a pool that has its connections from the login which its password function is marked with. */
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
  // A number is the caller's own; what is drawn, from the login of the writer, is an object.
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
    hint: 'Give the login of the writer first, and those of the replicas as replication: { slaves: [login] }.',
  })
}

const CHECKS = { master, slaves, defaultMode: oneOf('master', 'slave') } as const
