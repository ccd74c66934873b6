/** Logins for Sequelize 6. */
import type { Options, PoolOptions, Sequelize, Transaction, TransactionOptions } from 'sequelize'
import type { BootstrapQuery } from '../core/connection/backend-tracker.js'
import {
  checkDriverOptions,
  type OwnedByLogin,
  refuseDirectNegotiation,
} from '../core/connection/driver-options.js'
import { loginForAddress, readLogins } from '../core/connection/replicas.js'
import {
  createStreamFactory,
  isPastLifetime,
  type LoginStreamOptions,
  loginOfFactory,
  lossOf,
  markWithLogin,
} from '../core/connection/login-stream.js'
import { PgIamError } from '../core/errors.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import type { Login } from '../core/login.js'
import { checkClient, describeValue, type Explicit, invalidOption } from '../core/options/check.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'
import { sqlStateOf } from '../core/transactions/is-occ-conflict.js'
import { type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { type DsqlMigrationsOption, dsqlMigrationsOf } from '../migrations/in-options.js'
import { withoutDefaultLevel, withoutOnlyLevel } from '../core/transactions/only-isolation-level.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import { watchPgClient } from '../core/transactions/transaction-connection.js'

/** The options of `new Sequelize()`, with logins in place of the addresses of replicas. */
export interface SequelizeLoginOptions extends Omit<Options, 'replication'> {
  replication?: SequelizeReplication | false
}

/**
 * Options of frameworks, in the same object as Sequelize's own: sequelize-typescript (2) and `@nestjs/sequelize` (10 and 11). They are
 * passed on unchanged. For another framework give its options type: `sequelizeOptions<TheirOptions>(login, options)`.
 */
export interface SequelizeFrameworkOptions {
  autoCloseConnection?: boolean
  autoLoadModels?: boolean
  modelMatch?: (filename: string, member: string) => boolean
  modelPaths?: string[]
  models?: ClassOrFiles[]
  name?: string
  repositoryMode?: boolean
  retryAttempts?: number
  /** Milliseconds. */
  retryDelay?: number
  synchronize?: boolean
  validateOnly?: boolean
}

/** A class or a path. The frameworks have different types for the class, and must accept the result. */
// oxlint-disable-next-line no-explicit-any
type ClassOrFiles = any

/**
 * Returns the options for `new Sequelize()`. Each physical connection logs in with its own token.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * @param given the server to write to, and to read from without replicas: a login, or a URL for {@link loginFromUrl}
 * @param options the options of `new Sequelize()`, except address, user, password and TLS, which the login determines. Read replicas are
 * given as logins or URLs, `replication: { read: [login] }`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines
 */
export function sequelizeOptions<Framework extends object = {}>(
  given: LoginOrUrl,
  options?: (Options | SequelizeLoginOptions) &
    SequelizeFrameworkOptions &
    DsqlMigrationsOption &
    Explicit<Framework>,
): Options & SequelizeFrameworkOptions & Explicit<Framework>
export function sequelizeOptions(
  given: LoginOrUrl,
  { dsqlMigrations, ...options }: (Options | SequelizeLoginOptions) & DsqlMigrationsOption = {},
): Options {
  const login = loginOf(given)
  const through = dsqlMigrationsOf(login, dsqlMigrations, 'sequelize', tablesOf(options))
  refuseOtherDrivers(options)
  refuseMessageLevel(login, 'clientMinMessages', options.clientMinMessages)
  const read = readLogins(options.replication)
  // Sequelize ignores a top-level `ssl`, but `ssl: false` is still rejected.
  checkDriverOptions(login, { ...options }, { ...OWNED, ssl: 'tls' })
  const {
    ssl: _ssl,
    replication: _replication,
    ...rest
  } = withoutDefaultLevel(login, options) as typeof options
  const connection = connectionOf(login, options.dialectOptions, through)
  return {
    ...KNOWN_VERSION,
    ...(options.timezone === undefined && keepsTimeZone(login)
      ? { keepDefaultTimezone: true }
      : {}),
    ...rest,
    dialect: 'postgres',
    ...connection,
    ...(read === undefined
      ? {}
      : {
          replication: {
            write: { ...connection },
            read: read.map((replica) => connectionOf(replica, options.dialectOptions)),
          },
        }),
    pool: poolOptions(login, options.pool),
  }
}

/**
 * Returns a `beforeConnect` hook, for `new Sequelize({ hooks: { beforeConnect } })` or `addHook('beforeConnect', ...)`. Each physical
 * connection logs in with its own token, to the login's address and as its user. With `replication`, a login for each of its hosts is
 * required.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * The hook throws `ERR_OPTION_CONFLICT` if a password is configured, or a host of `replication` has no login, and `ERR_TLS_UNVERIFIED` if
 * `dialectOptions.ssl` would weaken TLS. The connection then fails with this error.
 */
export function sequelizeHook(
  given: LoginOrUrl,
  ...readers: LoginOrUrl[]
): (config: SequelizeConnectionConfig) => void {
  const login = loginOf(given)
  const logins = [login, ...readers.map((reader, index) => loginOf(reader, `readers[${index}]`))]
  // Sequelize calls it as its method, which its type does not declare.
  function prepare(this: SequelizeInternals | undefined, config: SequelizeConnectionConfig): void {
    // All connections to a server share one object, which is prepared only once.
    const prepared = loginOfFactory(streamOf(config))
    if (prepared !== undefined && logins.includes(prepared)) return
    const { options, config: own }: SequelizeInternals = this ?? {}
    const chosen = options?.replication ? loginForAddress(logins, config) : login
    refuseOtherDrivers({ ...config, dialect: options?.dialect })
    refuseMessageLevel(chosen, 'clientMinMessages', options?.clientMinMessages)
    connectWith(chosen, config)
    // Sequelize's default if no time zone is given.
    if (own !== undefined && options?.timezone === '+00:00' && keepsTimeZone(chosen))
      own.keepDefaultTimezone = true
    validateAge(this)
  }
  return markWithLogin(prepare, login)
}

/**
 * Runs `fn` in a Sequelize transaction, and retries it as a whole after a conflict. Hooks that `fn` registers with
 * `transaction.afterCommit()` run once, after the successful commit.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then.
 *
 * @param options those of `sequelize.transaction()`, and the retry options
 */
export async function sequelizeTransaction<T>(
  sequelize: Sequelize,
  fn: (transaction: Transaction) => PromiseLike<T>,
  options: TransactionOptions & RetryOptions = {},
): Promise<T> {
  // Sequelize 7 lacks the last one.
  const methods = ['transaction', 'query', 'databaseVersion']
  checkClient(sequelize, 'sequelize', methods, 'what new Sequelize() of Sequelize 6 returns')
  const { retry, own: given } = splitRetryOptions(options)
  const login = loginOfSequelize(sequelize)
  const own = withoutOnlyLevel(login, given) as typeof given
  let committed: (() => Promise<void>) | undefined
  const result = await runTransaction({
    client: sequelize,
    login,
    isNested: own.transaction !== undefined && own.transaction !== null,
    retry,
    fn,
    attempt: (work, connected) =>
      withConnection(
        sequelize,
        (client) => connected(watchPgClient(client)),
        () =>
          sequelize.transaction(own, async (transaction) => {
            committed = keepAfterCommit(transaction)
            keepConnection(sequelize, transaction)
            return work(transaction)
          }),
      ),
  })
  await committed?.()
  return result
}

/**
 * Sequelize has no maximum age, but validates a connection before it hands it out. A connection in use is not affected. The pool's `idle`
 * ends idle connections, except `min` of them.
 */
function poolOptions(
  { maxLifetimeSecs }: Login,
  { validate, ...given }: PoolOptions = {},
): PoolOptions {
  return {
    ...(maxLifetimeSecs === undefined ? {} : { idle: Math.min(IDLE_MS, maxLifetimeSecs * 200) }),
    ...given,
    validate: validator(validate),
  }
}

/** Sequelize's default. */
const IDLE_MS = 10_000

/** Prevents a Sequelize instance from handing out connections past their maximum age. */
function validateAge({ connectionManager }: SequelizeInternals = {}): void {
  if (connectionManager?.validate === undefined || validating.has(connectionManager)) return
  validating.add(connectionManager)
  const validate = connectionManager.validate.bind(connectionManager)
  connectionManager.validate = (client) => !isPastLifetime(client) && validate(client)
}

const validating = new WeakSet<object>()

/**
 * Sequelize (6.37) does not expose the connection of a transaction before BEGIN. It gets that connection from its pool during the `begin`
 * call, so `getConnection` is only patched for the duration of that call.
 */
function withConnection<T>(
  sequelize: Sequelize,
  connected: (client: unknown) => void,
  begin: () => Promise<T>,
): Promise<T> {
  const { connectionManager } = sequelize as unknown as SequelizeInternals
  const before = connectionManager && Object.getOwnPropertyDescriptor(connectionManager, GET)
  if (typeof connectionManager?.getConnection !== 'function') return begin()
  const get = connectionManager.getConnection.bind(connectionManager)
  connectionManager.getConnection = async (options) => {
    const client = await get(options)
    connected(client)
    return client
  }
  try {
    return begin()
  } finally {
    if (before === undefined) Reflect.deleteProperty(connectionManager, GET)
    else Object.defineProperty(connectionManager, GET, before)
  }
}

const GET = 'getConnection'

/** A given function replaces Sequelize's, so its checks are repeated here. */
function validator(
  given: ((client?: unknown) => boolean) | undefined,
): (client?: unknown) => boolean {
  return (client) => {
    const { _invalid, _ending } = client as { _invalid?: boolean; _ending?: boolean }
    return (
      _invalid !== true && _ending !== true && !isPastLifetime(client) && (given?.(client) ?? true)
    )
  }
}

/** Sequelize works on its own copy of the options. A hook changes that copy with the first connection. */
function loginOfSequelize(sequelize: Sequelize): Login | undefined {
  const { connectionManager, options } = sequelize as unknown as SequelizeInternals
  const given = options?.hooks?.beforeConnect ?? []
  const hooks = given.map((hook) => loginOfFactory(typeof hook === 'function' ? hook : hook.fn))
  return (
    loginOfFactory(streamOf(connectionManager?.config)) ??
    hooks.find((login) => login !== undefined)
  )
}

interface SequelizeInternals {
  connectionManager?: {
    config?: SequelizeConnectionConfig
    /** Called by the pool for each connection before it is handed out, unless the application gave `pool.validate`. */
    validate?: (client: unknown) => boolean
    getConnection?: (options: unknown) => Promise<unknown>
  }
  config?: { keepDefaultTimezone?: boolean }
  options?: {
    dialect?: string
    replication?: unknown
    timezone?: string
    clientMinMessages?: unknown
    /** A named hook is an object. */
    hooks?: { beforeConnect?: (object & { fn?: unknown })[] }
  }
}

function streamOf(config: SequelizeConnectionConfig | undefined): unknown {
  return (config?.dialectOptions as { stream?: unknown } | undefined)?.stream
}

/**
 * Replaces `afterCommit`: Sequelize also runs these hooks after a failed commit. They run after the transaction, so that an error of a hook
 * is not reported as a failed transaction.
 */
function keepAfterCommit(transaction: Transaction): () => Promise<void> {
  const hooks: ((transaction: Transaction) => void | Promise<void>)[] = []
  transaction.afterCommit = (hook: (transaction: Transaction) => void | Promise<void>): void => {
    if (typeof hook !== 'function') throw invalidOption('afterCommit', 'a function', hook)
    hooks.push(hook)
  }
  return async () => {
    // Sequentially, as in Sequelize.
    for (const hook of hooks) await hook.call(transaction, transaction)
  }
}

/**
 * Without a version Sequelize opens an additional connection only to query it. It makes no decisions based on versions this new. The option
 * is documented, but its types lack it.
 */
const KNOWN_VERSION: object = { databaseVersion: '16.0.0' }

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  username: 'user',
  database: 'database',
  password: 'password',
}

function refuseOtherDrivers({
  native,
  dialect,
}: {
  native?: boolean | undefined
  dialect?: unknown
}): void {
  if (dialect !== undefined && dialect !== null && dialect !== 'postgres') {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"dialect" must be "postgres" with a login, got ${describeValue(dialect)}`,
    )
  }
  // pg-native opens its connections through libpq.
  if (native !== true) return
  throw new PgIamError('ERR_OPTION_CONFLICT', '"native" must not be true with a login', {
    hint: 'Use the JavaScript driver, pg.',
  })
}

// Sequelize's options for connections to one server.

/** The part of Sequelize's connection configuration that the hook uses. */
export interface SequelizeConnectionConfig {
  host?: string
  port?: string | number
  database?: string
  username?: string
  password?: string | null
  native?: boolean
  dialectOptions?: object
}

type ConnectionPart = 'host' | 'port' | 'database' | 'username' | 'dialectOptions'

/**
 * The options for connections of a login: for the only server, or for one server of a replication set.
 *
 * Throws `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines.
 */
/** The tables of sequelize-cli (6) and of Umzug, whose names its configuration has. */
function tablesOf(options: object): string[] {
  const { migrationStorageTableName = 'SequelizeMeta', seederStorageTableName = 'SequelizeData' } =
    options as { migrationStorageTableName?: string; seederStorageTableName?: string }
  return [migrationStorageTableName, seederStorageTableName]
}

function connectionOf(
  login: Login,
  dialectOptions: object = {},
  through?: LoginStreamOptions['through'],
): Pick<Options, ConnectionPart> {
  return {
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    dialectOptions: withLogin(login, dialectOptions, 'dialectOptions.', through),
  }
}

/** Changes a configuration just before Sequelize connects with it, so that it connects with the login. */
function connectWith(login: Login, config: SequelizeConnectionConfig): void {
  // Sequelize has a default for the host, so only options without a default are checked.
  checkDriverOptions(login, { password: config.password }, { password: 'password' })
  const { password, ...others } = (config.dialectOptions ?? {}) as { password?: unknown }
  // Sequelize (6.37) puts the parts of a URL here, with an empty password if there is none.
  config.dialectOptions = withLogin(login, password ? { password, ...others } : others)
  Object.assign(config, { host: login.host, port: login.port, database: login.database })
  if (login.user !== undefined) config.username = login.user
}

/** Without address and user, which are Sequelize's own options and override any given here. */
const OWNED_OF_CONNECTION: Readonly<Record<string, OwnedByLogin>> = {
  password: 'password',
  connectionString: 'url',
  ssl: 'tls',
  sslmode: 'tls',
  sslnegotiation: 'negotiation',
  stream: 'socket',
  target_session_attrs: 'session-attributes',
}

function withLogin(
  login: Login,
  dialectOptions: object,
  prefix = '',
  through?: LoginStreamOptions['through'],
): object {
  refuseDirectNegotiation('Sequelize')
  const tls = checkDriverOptions(login, dialectOptions, OWNED_OF_CONNECTION, prefix)
  const given = givenParameters(dialectOptions, PG_STARTUP_OPTIONS, prefix)
  const { clientMinMessages } = dialectOptions as { clientMinMessages?: unknown }
  refuseMessageLevel(login, `${prefix}clientMinMessages`, clientMinMessages)
  // `ssl` is set explicitly: pg would otherwise read PGSSLMODE, and start TLS inside TLS.
  return {
    ...dialectOptions,
    ...(setsMessageLevel(login) ? {} : { clientMinMessages: 'ignore' }),
    ssl: false,
    stream: createStreamFactory(login, {
      tls,
      given,
      bootstrapQuery,
      ...(through && { through }),
    }),
  }
}

/**
 * Sequelize (6.37) sends `SET client_min_messages` on each connection, by default with `warning`. Aurora DSQL rejects it:
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/accessing.html
 */
function setsMessageLevel({ provider }: Login): boolean {
  return provider !== 'aurora-dsql'
}

/** Rejects a level that cannot be set. `'ignore'`, or `false` in Sequelize's own options, sets none. */
function refuseMessageLevel(login: Login, name: string, level: unknown): void {
  const isNone = level === undefined || level === null || level === false || level === ''
  const isIgnored = typeof level === 'string' && level.toLowerCase() === 'ignore'
  if (setsMessageLevel(login) || isNone || isIgnored) return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must not be given for Aurora DSQL, which cannot set it, got ${describeValue(level)}`,
    { hint: 'Remove it: Aurora DSQL rejects SET client_min_messages.' },
  )
}

/**
 * Whether Sequelize should not set the session's time zone. By default it sets UTC on each connection. Aurora DSQL always uses UTC, and
 * Redshift does not support the syntax.
 */
function keepsTimeZone({ provider }: Login): boolean {
  return provider === 'aurora-dsql' || provider === 'redshift'
}

/**
 * Sequelize (6.37) sets up the session of a new connection, and queries ranges and enums on its first ones. It leaks a connection on which
 * either fails.
 */
const bootstrapQuery: BootstrapQuery = (request) => {
  if (request.includes('WITH ranges AS')) return 'optional'
  return SESSION_SETUP.some((statement) => request.includes(statement)) ? 'required' : undefined
}

const SESSION_SETUP = [
  'SET standard_conforming_strings=',
  'SET client_min_messages TO ',
  'SET TIME ZONE ',
]

// The connection of a Sequelize transaction whose COMMIT fails.

/**
 * Makes `transaction` keep its connection if the server answered COMMIT with an error, such as a conflict: the transaction is then rolled
 * back, and the session can be reused. Sequelize (6.37) ends the connection after each failed COMMIT, and logs that to the console. On
 * Aurora DSQL, where conflicts are common, each would cost a new connection.
 */
function keepConnection(sequelize: Sequelize, transaction: Transaction): void {
  const inner = transaction as unknown as TransactionInternals
  const { commit } = transaction
  transaction.commit = async () => {
    if (inner.finished !== undefined) return commit.call(transaction)
    const { connection } = inner
    try {
      await sequelize.getQueryInterface().commitTransaction(transaction, inner.options)
    } catch (error) {
      if (sqlStateOf(error) !== undefined && lossOf(connection) === undefined) inner.cleanup()
      else await inner.forceCleanup()
      throw error
    }
    inner.cleanup()
  }
}

/** The parts of Sequelize's own `commit()`. */
interface TransactionInternals {
  readonly connection: unknown
  readonly finished: string | undefined
  readonly options: object
  /** Releases the connection to the pool. */
  cleanup(): void
  /** Ends the connection. */
  forceCleanup(): Promise<void>
}

// Sequelize's `replication` option, with logins in place of addresses.

/** The replicas to read from. Writes go to the login that is the first argument. */
export interface SequelizeReplication {
  /** The logins or URLs of the replicas, or of a reader endpoint: at least one. Connections are opened to each in turn. */
  read: readonly LoginOrUrl[]
}
