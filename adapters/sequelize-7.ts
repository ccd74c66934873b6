/** Logins for Sequelize 7. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import {
  type ManagedTransactionOptions,
  type Options,
  type PoolOptions,
  type Sequelize,
  type Transaction,
  TransactionNestMode,
} from '@sequelize/core'
import { PostgresDialect } from '@sequelize/postgres'
import type { BootstrapQuery } from '../core/connection/backend-tracker.js'
import {
  checkDriverOptions,
  type OwnedByLogin,
  refuseDirectNegotiation,
} from '../core/connection/driver-options.js'
import { loginForAddress, readLogins } from '../core/connection/replicas.js'
import {
  isPastLifetime,
  loginOfFactory,
  LoginStream,
  type LoginStreamOptions,
  lossOf,
  markWithLogin,
} from '../core/connection/login-stream.js'
import { PgIamError } from '../core/errors.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import type { Login } from '../core/login.js'
import {
  checkClient,
  describeValue,
  invalidOption,
  isPlainObject,
  withoutUndefined,
} from '../core/options/check.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'
import { sqlStateOf } from '../core/transactions/is-occ-conflict.js'
import { type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { type DsqlMigrationsOption, dsqlMigrationsOf } from '../migrations/in-options.js'
import { withoutDefaultLevel, withoutOnlyLevel } from '../core/transactions/only-isolation-level.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import {
  type TransactionConnection,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'

/** The options of `new Sequelize()` for PostgreSQL. */
export type SequelizePostgresOptions = Options<PostgresDialect>

/** The same, with logins in place of the addresses of replicas. `dialect` is optional. */
export interface SequelizeLoginOptions extends Partial<
  Omit<SequelizePostgresOptions, 'replication'>
> {
  replication?: SequelizeReplication | false
}

/**
 * Returns the options for `new Sequelize()` of Sequelize 7. Each physical connection logs in with its own token.
 *
 * Exported from `'pg-iam/sequelize-7'`.
 *
 * @param given the server to write to, and to read from without replicas: a login, or a URL for {@link loginFromUrl}
 * @param options the options of `new Sequelize()` for PostgreSQL, except address, user, password and TLS, which the login determines. Read
 * replicas are given as logins or URLs, `replication: { read: [login] }`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines
 */
export function sequelizeOptions(
  given: LoginOrUrl,
  {
    dsqlMigrations,
    ...options
  }: (Partial<SequelizePostgresOptions> | SequelizeLoginOptions) & DsqlMigrationsOption = {},
): SequelizePostgresOptions {
  const login = loginOf(given)
  // The tables of sequelize-cli and Umzug, because Sequelize 7 has no migrations.
  const tables = ['SequelizeMeta', 'SequelizeData']
  const through = dsqlMigrationsOf(login, dsqlMigrations, 'sequelize', tables)
  refuseOtherDrivers(options)
  refuseOptionsOfVersion6(options)
  refuseMessageLevel(login, options.clientMinMessages)
  const read = readLogins(options.replication)
  const connection = connectionOf(login, options, undefined, through)
  const { replication: _replication, ...rest } = withoutDefaultLevel(
    login,
    options,
  ) as SequelizeLoginOptions
  return {
    ...sessionOptions(login, options),
    ...withoutUndefined(rest),
    ...(login.provider === 'aurora-dsql' ? NO_MESSAGE_LEVEL : {}),
    dialect: dialectOf(login, options),
    ...connection,
    ...(read === undefined
      ? {}
      : {
          replication: {
            write: { ...connection },
            read: read.map((replica) => connectionOf(replica, options, 'replica')),
          },
        }),
    pool: poolOptions(login, options.pool),
  }
}

/** A hook for `beforeConnect`, which Sequelize calls with a configuration, and for `afterConnect`, which it calls with two arguments. */
export type SequelizeHook = (configOrConnection: object, config?: object) => void

/**
 * Returns a hook for `new Sequelize({ hooks: { beforeConnect: hook, afterConnect: hook } })` or `sequelize.hooks.addListener()`. As
 * `beforeConnect` it logs each physical connection in with its own token. As `afterConnect` it makes the pool replace connections that reach
 * the maximum age of the login. With `replication`, a login for each of its hosts is required.
 *
 * Exported from `'pg-iam/sequelize-7'`.
 *
 * The hook throws `ERR_OPTION_CONFLICT` if the configuration contains a password, or an address or a user that no login is for, and
 * `ERR_TLS_UNVERIFIED` if `ssl` would weaken TLS. The connection then fails with this error.
 */
export function sequelizeHook(given: LoginOrUrl, ...readers: LoginOrUrl[]): SequelizeHook {
  const login = loginOf(given)
  const logins = [login, ...readers.map((reader, index) => loginOf(reader, `readers[${index}]`))]
  function hook(first: object, second?: object): void {
    if (second === undefined) prepare(logins, first)
    else limitAge(first)
  }
  return markWithLogin(hook, login)
}

/**
 * Runs `fn` in a Sequelize transaction, and retries it as a whole after a conflict. Within `fn`, `sequelize.transaction()` and queries without
 * a transaction join it, unless Sequelize's `disableClsTransactions` is set. Hooks that `fn` registers with `transaction.afterCommit()` and
 * `transaction.afterTransaction()` run once, after the successful commit.
 *
 * Exported from `'pg-iam/sequelize-7'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then.
 *
 * @param options those of `sequelize.transaction()`, and the retry options. Inside a transaction that `sequelize.transaction()` began, only
 * `nestMode: 'separate'` is possible
 */
export async function sequelizeTransaction<T>(
  sequelize: Sequelize,
  fn: (transaction: Transaction) => PromiseLike<T>,
  options: ManagedTransactionOptions & RetryOptions = {},
): Promise<T> {
  checkClient(sequelize, 'sequelize', CLIENT_METHODS, 'what new Sequelize() of Sequelize 7 returns')
  const { retry, own: given } = splitRetryOptions(options)
  const login = loginOfSequelize(sequelize)
  const own = withoutOnlyLevel(login, given) as typeof given
  let committed: (() => Promise<void>) | undefined
  const result = await runTransaction({
    client: sequelize,
    login,
    isNested: isInsideOwnTransaction(sequelize, own),
    retry,
    fn,
    attempt: (work, connected) =>
      withConnection(sequelize, connected, () =>
        // By default Sequelize (7.0.0-alpha.48) would join a transaction of the current context, also one that has ended.
        sequelize.transaction(
          { ...own, nestMode: TransactionNestMode.separate },
          async (transaction) => {
            committed = keepHooks(transaction)
            keepConnection(transaction)
            return work(transaction)
          },
        ),
      ),
  })
  await committed?.()
  return result
}

/** Sequelize 6 lacks the last one. */
const CLIENT_METHODS = ['transaction', 'query', 'getCurrentClsTransaction']

/** Whether Sequelize would not begin a transaction, but join the given one or that of the current context. */
function isInsideOwnTransaction(
  sequelize: Sequelize,
  { transaction, nestMode }: ManagedTransactionOptions,
): boolean {
  if (transaction !== undefined && transaction !== null) return true
  if ((nestMode ?? sequelize.options.defaultTransactionNestMode) === TransactionNestMode.separate)
    return false
  const current = sequelize.getCurrentClsTransaction()
  return current !== undefined && current.finished === undefined
}

/** Sequelize's copy of the options is frozen. A hook that was added later is not found. */
function loginOfSequelize({ options, rawOptions }: Sequelize): Login | undefined {
  const { stream } = (options?.replication?.write ?? {}) as { stream?: unknown }
  const { beforeConnect } = (rawOptions?.hooks ?? {}) as { beforeConnect?: unknown }
  const hooks: unknown[] = Array.isArray(beforeConnect) ? beforeConnect : [beforeConnect]
  // A named hook is an object.
  const logins = hooks.map((hook) => loginOfFactory(isPlainObject(hook) ? hook['callback'] : hook))
  return loginOfFactory(stream) ?? logins.find((login) => login !== undefined)
}

// The connection of a transaction, before BEGIN.

type Connected = (connection: TransactionConnection | undefined) => void

/** A transaction for which Sequelize is about to get a connection from its pool, or has done so. */
interface Checkout {
  readonly sequelize: Sequelize
  readonly connected: Connected
  isDone: boolean
}

const checkouts = new AsyncLocalStorage<Checkout>()

/**
 * Runs `begin`, which must begin a transaction, and calls `connected` with its connection. Sequelize (7.0.0-alpha.48) binds the connection to
 * the transaction only after BEGIN was sent, so a hook of the pool reports it.
 */
function withConnection<T>(
  sequelize: Sequelize,
  connected: Connected,
  begin: () => Promise<T>,
): Promise<T> {
  if (!reporting.has(sequelize)) {
    reporting.add(sequelize)
    sequelize.hooks.addListener('afterPoolAcquire', (connection) => {
      const checkout = checkouts.getStore()
      if (checkout === undefined || checkout.isDone || checkout.sequelize !== sequelize) return
      checkout.isDone = true
      checkout.connected(watchPgClient(connection))
    })
  }
  return checkouts.run({ sequelize, connected, isDone: false }, begin)
}

const reporting = new WeakSet<Sequelize>()

// The end of a transaction.

type TransactionHook = (transaction: Transaction) => void | Promise<void>

/**
 * Replaces `afterCommit` and `afterTransaction`, and returns a function that runs the hooks of a committed transaction. Sequelize
 * (7.0.0-alpha.48) runs them as a part of the commit: an error of a hook would be reported as a failed transaction, and could be retried.
 */
function keepHooks(transaction: Transaction): () => Promise<void> {
  const committed = new Set<TransactionHook>()
  const ended = new Set<TransactionHook>()
  const afterTransaction = transaction.afterTransaction.bind(transaction)
  transaction.afterCommit = (hook) => {
    committed.add(checkHook(hook, 'afterCommit'))
    return transaction
  }
  transaction.afterTransaction = (hook) => {
    ended.add(checkHook(hook, 'afterTransaction'))
    return afterTransaction((own) => (own.finished === 'rollback' ? hook(own) : undefined))
  }
  return async () => {
    // Sequentially, as in Sequelize.
    for (const hook of [...committed, ...ended]) await hook.call(transaction, transaction)
  }
}

function checkHook(hook: TransactionHook, name: string): TransactionHook {
  if (typeof hook !== 'function') throw invalidOption(name, 'a function', hook)
  return hook
}

/**
 * Makes `transaction` keep its connection if the server answered COMMIT with an error, such as a conflict: the transaction is then rolled
 * back, and the session can be reused. Sequelize (7.0.0-alpha.48) ends the connection after each failed COMMIT, and logs that to the console.
 * On Aurora DSQL, where conflicts are common, each would cost a new connection.
 *
 * Sequelize's `commit()` sends COMMIT through `transaction.sequelize`, and releases the connection if that succeeds. So during the call, that
 * property is an object that inherits from the instance, and keeps such an error until the connection is released.
 */
function keepConnection(transaction: Transaction): void {
  const commit = transaction.commit.bind(transaction)
  transaction.commit = async () => {
    const { sequelize } = transaction
    const { queryInterface } = sequelize
    const connection = transaction.getConnectionIfExists()
    let failure: { error: unknown } | undefined
    const send: typeof queryInterface._commitTransaction = async (...args) => {
      try {
        await queryInterface._commitTransaction(...args)
      } catch (error) {
        if (sqlStateOf(error) === undefined || lossOf(connection) !== undefined) throw error
        failure = { error }
      }
    }
    transaction.sequelize = inherited(sequelize, {
      queryInterface: inherited(queryInterface, { _commitTransaction: send }),
    })
    try {
      await commit()
    } finally {
      transaction.sequelize = sequelize
    }
    if (failure !== undefined) throw (failure as { error: unknown }).error
  }
}

function inherited<T extends object>(parent: T, own: object): T {
  return Object.create(parent, Object.getOwnPropertyDescriptors(own)) as T
}

// The options for connections to one server.

type ConnectionPart = 'host' | 'port' | 'database' | 'user' | 'ssl' | 'stream'

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  user: 'user',
  database: 'database',
  password: 'password',
  url: 'url',
  connectionString: 'url',
  stream: 'socket',
  ssl: 'tls',
  sslmode: 'tls',
  sslnegotiation: 'negotiation',
  target_session_attrs: 'session-attributes',
}

/** The options of all servers apply to a replica, too, but their address is that of the writer. */
const OWNED_OF_REPLICA: Readonly<Record<string, OwnedByLogin>> = {
  ssl: 'tls',
  sslnegotiation: 'negotiation',
}

/** Throws `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines. */
function connectionOf(
  login: Login,
  options: object,
  server: 'writer' | 'replica' = 'writer',
  through?: LoginStreamOptions['through'],
): Pick<SequelizePostgresOptions, ConnectionPart> {
  refuseDirectNegotiation('sequelizeOptions', ' Or use sequelizeHook.')
  const owned = server === 'writer' ? OWNED : OWNED_OF_REPLICA
  // A copy, since an instance of a class would be rejected.
  const tls = checkDriverOptions(login, { ...options }, owned)
  const given = givenParameters(options, PG_STARTUP_OPTIONS)
  return {
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { user: login.user }),
    // Set explicitly: pg would otherwise read PGSSLMODE, and start TLS inside TLS.
    ssl: false,
    stream: streamFactory(login, {
      tls,
      given,
      bootstrapQuery: requiredBootstrap,
      ...(through && { through }),
    }),
  }
}

function refuseOtherDrivers({ native, dialect }: { native?: unknown; dialect?: unknown }): void {
  const isPostgres = dialect === 'postgres' || isPostgresDialect(dialect)
  if (dialect !== undefined && !isPostgres) {
    const got = typeof dialect === 'function' ? dialect.name : describeValue(dialect)
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"dialect" must be PostgresDialect with a login, got ${got}`,
    )
  }
  // pg-native opens its connections through libpq.
  if (native !== true) return
  throw new PgIamError('ERR_OPTION_CONFLICT', '"native" must not be true with a login', {
    hint: 'Use the JavaScript driver, pg.',
  })
}

type DialectClass = Extract<SequelizePostgresOptions['dialect'], Function>

/** By name, since an application may have another copy of the class. */
function isPostgresDialect(dialect: unknown): dialect is DialectClass {
  for (let each = dialect; typeof each === 'function'; each = Object.getPrototypeOf(each))
    if (each === PostgresDialect || each.name === PostgresDialect.name) return true
  return false
}

/** Sequelize 7 rejects them too, but does not say what replaces them. */
function refuseOptionsOfVersion6(options: object): void {
  for (const [name, hint] of Object.entries(OPTIONS_OF_VERSION_6)) {
    if ((options as Record<string, unknown>)[name] === undefined) continue
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" is not an option of Sequelize 7`, {
      hint,
    })
  }
}

const OPTIONS_OF_VERSION_6 = {
  username: 'Sequelize 7 names it "user". The login determines it.',
  dialectOptions: 'Give its options beside the others, such as { application_name: "web" }.',
} as const

/**
 * Returns the socket function. pg (8.23) calls it as a method of its connection.
 *
 * Sequelize (7.0.0-alpha.48) rejects the loss of a connection that is not in its pool yet, which ends the process. So a query that sets up the
 * session fails then, and the connection itself does not.
 */
function streamFactory(login: Login, options: LoginStreamOptions): () => Duplex {
  function stream(this: unknown): Duplex {
    const connection = this instanceof EventEmitter ? this : undefined
    const failQuery = (error: Error): void => void connection?.emit('errorMessage', error)
    return new LoginStream(login, {
      ...options,
      ...(connection === undefined ? {} : { failQuery }),
    })
  }
  return markWithLogin(stream, login)
}

// The session of a new connection.

/** Throws for a level that cannot be set. Aurora DSQL rejects it: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/accessing.html */
function refuseMessageLevel({ provider }: Login, level: unknown): void {
  const isNone = level === undefined || level === null || level === false || level === ''
  if (provider !== 'aurora-dsql' || isNone) return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"clientMinMessages" must not be given for Aurora DSQL, which cannot set it, got ${describeValue(level)}`,
    { hint: 'Remove it: Aurora DSQL rejects SET client_min_messages.' },
  )
}

/**
 * What Sequelize (7.0.0-alpha.48) sets on each connection by default is left out where it is not possible. Aurora DSQL and Redshift do not
 * support `SET client_min_messages`. Redshift does not support the syntax for the time zone, and Aurora DSQL always uses UTC.
 */
function sessionOptions(
  { provider }: Login,
  { timezone }: { timezone?: unknown },
): Pick<SequelizePostgresOptions, 'clientMinMessages' | 'keepDefaultTimezone'> {
  if (provider !== 'aurora-dsql' && provider !== 'redshift') return {}
  return { ...NO_MESSAGE_LEVEL, ...(timezone === undefined ? { keepDefaultTimezone: true } : {}) }
}

const NO_MESSAGE_LEVEL = { clientMinMessages: false } as const

/** The given dialect, on Aurora DSQL a subclass of it. */
function dialectOf(
  { provider }: Login,
  { dialect, standardConformingStrings }: Partial<SequelizePostgresOptions> | SequelizeLoginOptions,
): DialectClass {
  const Base = isPostgresDialect(dialect) ? dialect : PostgresDialect
  return provider === 'aurora-dsql' && standardConformingStrings === undefined
    ? withoutConformanceSetting(Base)
    : Base
}

/**
 * Sequelize (7.0.0-alpha.48) sends `SET standard_conforming_strings=on` if the server reports that it is on already. AWS's adapters of other
 * frameworks for Aurora DSQL leave the statement out. With the option alone Sequelize would read backslashes in strings as escapes, which
 * they are not.
 */
function withoutConformanceSetting(Base: DialectClass): DialectClass {
  return class extends (Base as typeof PostgresDialect) {
    constructor(...[sequelize, options]: ConstructorParameters<typeof PostgresDialect>) {
      super(sequelize, { ...options, standardConformingStrings: false })
    }

    override canBackslashEscape(): boolean {
      return false
    }
  }
}

/**
 * Sequelize (7.0.0-alpha.48) sets up the session of each new connection, and queries its types. It leaves a connection open on which either
 * fails.
 */
const requiredBootstrap: BootstrapQuery = (request) =>
  isTypeQuery(request) || SESSION_SETUP.some((statement) => request.includes(statement))
    ? 'required'
    : undefined

/** For the hook, which cannot change what Sequelize sets: where its defaults are not supported, the session keeps those of the server. */
const defaultsOptional: BootstrapQuery = (request) =>
  isDefaultSetup(request) ? 'tolerated' : requiredBootstrap(request)

function isTypeQuery(request: Buffer): boolean {
  return request.includes('WITH ranges AS')
}

/** Whether a request contains no setting but Sequelize's defaults. */
function isDefaultSetup(request: Buffer): boolean {
  const statements = queryText(request).split(';').filter(Boolean)
  return statements.length > 0 && statements.every((statement) => DEFAULT_SETUP.includes(statement))
}

/** The text of a Query message: between its header and its final NUL. */
function queryText(request: Buffer): string {
  return request.toString('utf8', QUERY_HEADER_BYTES, request.length - 1)
}

/** A type byte and the length. */
const QUERY_HEADER_BYTES = 5

const SESSION_SETUP = [
  'SET standard_conforming_strings=',
  'SET client_min_messages TO ',
  'SET TIME ZONE ',
]

const DEFAULT_SETUP = [
  'SET standard_conforming_strings=on',
  'SET client_min_messages TO warning',
  "SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE",
]

// The age of connections.

type PostgresPoolOptions = PoolOptions<PostgresDialect>

/**
 * Sequelize has no maximum age, but validates a connection before it hands it out. A connection in use is not affected. The pool's `idle`
 * ends idle connections, except `min` of them.
 */
function poolOptions(
  { maxLifetimeSecs }: Login,
  { validate, ...given }: PostgresPoolOptions = {},
): PostgresPoolOptions {
  return {
    ...(maxLifetimeSecs === undefined ? {} : { idle: Math.min(IDLE_MS, maxLifetimeSecs * 200) }),
    ...given,
    validate: validator(validate),
  }
}

/** Sequelize's default. */
const IDLE_MS = 10_000

type Validate = NonNullable<PostgresPoolOptions['validate']>

/** A given function replaces Sequelize's, so its checks are repeated here. */
function validator(given: Validate | undefined): Validate {
  return (client) =>
    client?._invalid !== true &&
    client?._ending !== true &&
    !isPastLifetime(client) &&
    (given?.(client) ?? true)
}

/**
 * Makes a connection past its maximum age invalid. The hooks receive the connection, but not its pool. Sequelize's own `validate`
 * (7.0.0-alpha.48) rejects a connection whose `_invalid` is set.
 */
function limitAge(client: object): void {
  let isInvalid = (client as { _invalid?: boolean })._invalid
  Object.defineProperty(client, '_invalid', {
    get: () => isInvalid === true || isPastLifetime(client),
    set: (value: boolean) => {
      isInvalid = value
    },
    configurable: true,
    enumerable: true,
  })
}

// The hook, called with the configuration of one connection.

/** Changes a configuration just before Sequelize connects with it, so that it connects with the login. */
function prepare(logins: readonly Login[], config: object): void {
  const prepared = loginOfFactory((config as { stream?: unknown }).stream)
  if (prepared !== undefined && logins.includes(prepared)) return
  const [first, ...readers] = logins as readonly [Login, ...Login[]]
  const login = readers.length === 0 ? first : loginForAddress(logins, config)
  const tls = checkDriverOptions(login, { ...config }, OWNED)
  const given = givenParameters(config, PG_STARTUP_OPTIONS)
  const isLimited = login.provider === 'aurora-dsql' || login.provider === 'redshift'
  const bootstrapQuery = isLimited ? defaultsOptional : requiredBootstrap
  Object.assign(config, {
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { user: login.user }),
    // Set explicitly: pg would otherwise read PGSSLMODE and PGSSLNEGOTIATION, and start TLS inside TLS.
    ssl: false,
    sslnegotiation: 'postgres',
    stream: streamFactory(login, { tls, given, bootstrapQuery }),
  })
}

// Sequelize's `replication` option, with logins in place of addresses.

/** The replicas to read from. Writes go to the login that is the first argument. */
export interface SequelizeReplication {
  /** The logins or URLs of the replicas, or of a reader endpoint: at least one. Connections are opened to each in turn. */
  read: readonly LoginOrUrl[]
}
