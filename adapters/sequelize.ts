/** Logins for Sequelize 6. */
import type { Address } from '../core/connection/log-in.js'
import type { Options, PoolOptions, Sequelize, Transaction, TransactionOptions } from 'sequelize'
import type { BootstrapQuery } from '../core/connection/backend-tracker.js'
import { checkDriverOptions, type OwnedByLogin } from '../core/connection/driver-options.js'
import {
  createStreamFactory,
  isPastLifetime,
  loginOfFactory,
  lossOf,
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
  oneOrMore,
} from '../core/options/check.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'
import { sqlStateOf } from '../core/transactions/is-occ-conflict.js'
import { type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import { watchPgClient } from '../core/transactions/transaction-connection.js'

/** What `new Sequelize()` takes, with logins where it takes the addresses of replicas. */
export interface SequelizeLoginOptions extends Omit<Options, 'replication'> {
  replication?: SequelizeReplication | false
}

/**
 * Options that frameworks take beside Sequelize's own, in the same object: sequelize-typescript (2) and `@nestjs/sequelize` (10
 * and 11). They are passed on as they are. For another framework name its options: `sequelizeOptions<TheirOptions>(login, options)`.
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

/** A class, or a path. Each framework has a type of its own for the class, and goes on to take what is given here. */
// oxlint-disable-next-line no-explicit-any
type ClassOrFiles = any

/**
 * Returns the options for `new Sequelize()`: every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * @param given where Sequelize writes to, and reads from unless `options` name replicas: a login, or a URL for {@link loginFromUrl}
 * @param options whatever `new Sequelize()` takes, but for the address, the user, the password and TLS, which are the login's;
 * read replicas are given as logins or URLs, `replication: { read: [login] }`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function sequelizeOptions<Framework extends object = {}>(
  given: LoginOrUrl,
  options?: (Options | SequelizeLoginOptions) & SequelizeFrameworkOptions & Explicit<Framework>,
): Options & SequelizeFrameworkOptions & Explicit<Framework>
export function sequelizeOptions(
  given: LoginOrUrl,
  options: Options | SequelizeLoginOptions = {},
): Options {
  const login = loginOf(given)
  refuseOtherDrivers(options)
  refuseMessageLevel(login, 'clientMinMessages', options.clientMinMessages)
  const read = readLogins(options.replication)
  // Sequelize does nothing about a top-level `ssl`, but whoever wrote `ssl: false` meant something.
  checkDriverOptions(login, { ...options }, { ...OWNED, ssl: 'tls' })
  const { ssl: _ssl, replication: _replication, ...rest } = options
  const connection = connectionOf(login, options.dialectOptions)
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
 * Returns a `beforeConnect` hook, for `new Sequelize({ hooks: { beforeConnect } })` or `addHook('beforeConnect', ...)`, that
 * logs every physical connection in with a token of its own. Where it goes, and as whom, is what the login says. With
 * `replication` it needs a login for each host that is named there.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * The hook throws `ERR_OPTION_CONFLICT` where a password is configured too, or a host of `replication` has no login, and
 * `ERR_TLS_UNVERIFIED` where `dialectOptions.ssl` would weaken TLS; that fails the connection with this error.
 */
export function sequelizeHook(
  given: LoginOrUrl,
  ...readers: LoginOrUrl[]
): (config: SequelizeConnectionConfig) => void {
  const login = loginOf(given)
  const logins = [login, ...readers.map((reader, index) => loginOf(reader, `readers[${index}]`))]
  // Sequelize calls it as a method of its own; its type does not say so.
  function prepare(this: SequelizeInternals | undefined, config: SequelizeConnectionConfig): void {
    // One object serves all connections to a server: it is prepared once.
    const prepared = loginOfFactory(streamOf(config))
    if (prepared !== undefined && logins.includes(prepared)) return
    const { options, config: own }: SequelizeInternals = this ?? {}
    const chosen = options?.replication ? loginForHost(logins, config) : login
    refuseOtherDrivers({ ...config, dialect: options?.dialect })
    refuseMessageLevel(chosen, 'clientMinMessages', options?.clientMinMessages)
    connectWith(chosen, config)
    // What Sequelize has where no time zone is given.
    if (own !== undefined && options?.timezone === '+00:00' && keepsTimeZone(chosen))
      own.keepDefaultTimezone = true
    refuseAged(this)
  }
  return markWithLogin(prepare, login)
}

/**
 * Runs `fn` in a transaction of Sequelize, and again as a whole when it met a conflict. Hooks that `fn` registers by
 * `transaction.afterCommit()` run once, after the commit that happened.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost after COMMIT was written; then nothing is retried.
 *
 * @param options those of `sequelize.transaction()`, and those of the retry
 */
export async function sequelizeTransaction<T>(
  sequelize: Sequelize,
  fn: (transaction: Transaction) => PromiseLike<T>,
  options: TransactionOptions & RetryOptions = {},
): Promise<T> {
  checkClient(sequelize, 'sequelize', ['transaction', 'query'], 'what new Sequelize() returns')
  const { retry, own } = splitRetryOptions(options)
  let committed: (() => Promise<void>) | undefined
  const result = await runTransaction({
    client: sequelize,
    login: loginOfSequelize(sequelize),
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
 * Sequelize has no lifetime, but asks before it hands a connection out; one that is in use stays. An idle one is ended by the
 * pool's `idle`, but for `min` of them.
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

/** Sequelize's own default. */
const IDLE_MS = 10_000

/** Has an instance of Sequelize hand out no connection that is past its age. */
function refuseAged({ connectionManager }: SequelizeInternals = {}): void {
  if (connectionManager?.validate === undefined || refusing.has(connectionManager)) return
  refusing.add(connectionManager)
  const validate = connectionManager.validate.bind(connectionManager)
  connectionManager.validate = (client) => !isPastLifetime(client) && validate(client)
}

const refusing = new WeakSet<object>()

/**
 * Sequelize (6.37) shows the connection of a transaction to nobody before it has begun. It asks its pool for that connection while
 * `begin` is called, so the pool is watched for as long, and no longer.
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

/** A function given replaces that of Sequelize, which is repeated here. */
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

/** Sequelize works on its own copy of the options. A hook leaves its traces there with the first connection. */
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
    /** Its pool asks it about each connection that it is to hand out, unless the application gave `pool.validate`. */
    validate?: (client: unknown) => boolean
    getConnection?: (options: unknown) => Promise<unknown>
  }
  config?: { keepDefaultTimezone?: boolean }
  options?: {
    dialect?: string
    replication?: unknown
    timezone?: string
    clientMinMessages?: unknown
    /** A hook that was added under a name is an object. */
    hooks?: { beforeConnect?: (object & { fn?: unknown })[] }
  }
}

function streamOf(config: SequelizeConnectionConfig | undefined): unknown {
  return (config?.dialectOptions as { stream?: unknown } | undefined)?.stream
}

/**
 * Takes the hooks over: Sequelize runs them after a commit that failed, too. What one of them throws must not look like a
 * failed transaction, so they run when it is over.
 */
function keepAfterCommit(transaction: Transaction): () => Promise<void> {
  const hooks: ((transaction: Transaction) => void | Promise<void>)[] = []
  transaction.afterCommit = (hook: (transaction: Transaction) => void | Promise<void>): void => {
    if (typeof hook !== 'function') throw invalidOption('afterCommit', 'a function', hook)
    hooks.push(hook)
  }
  return async () => {
    // In turn, as Sequelize runs them.
    for (const hook of hooks) await hook.call(transaction, transaction)
  }
}

/**
 * Without a version Sequelize opens a connection more, only to ask for it; it chooses nothing by versions this new.
 * The option is documented, and missing in its types.
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
  // libpq opens its connections itself.
  if (native !== true) return
  throw new PgIamError('ERR_OPTION_CONFLICT', '"native" must not be true with a login', {
    hint: 'Use the JavaScript driver, pg.',
  })
}

// What Sequelize takes for the connections to one server.

/** What the hook touches of Sequelize's connection configuration. */
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
 * The options for connections of a login: those of the only server, or of each one of a replication set.
 *
 * Throws `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for what the login has already.
 */
function connectionOf(login: Login, dialectOptions: object = {}): Pick<Options, ConnectionPart> {
  return {
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    dialectOptions: withLogin(login, dialectOptions, 'dialectOptions.'),
  }
}

/** Changes a configuration that Sequelize is about to connect with, so that it connects with the login. */
function connectWith(login: Login, config: SequelizeConnectionConfig): void {
  // Sequelize fills in a host of its own where none is given, so only what cannot be a default is compared.
  checkDriverOptions(login, { password: config.password }, { password: 'password' })
  const { password, ...others } = (config.dialectOptions ?? {}) as { password?: unknown }
  // Sequelize (6.37) puts what a URL says here, with an empty password where it has none.
  config.dialectOptions = withLogin(login, password ? { password, ...others } : others)
  Object.assign(config, { host: login.host, port: login.port, database: login.database })
  if (login.user !== undefined) config.username = login.user
}

/** Address and user are Sequelize's own options, which it puts in the place of any that are here. */
const OWNED_OF_CONNECTION: Readonly<Record<string, OwnedByLogin>> = {
  password: 'password',
  connectionString: 'url',
  ssl: 'tls',
  sslmode: 'tls',
  sslnegotiation: 'negotiation',
  stream: 'socket',
  target_session_attrs: 'session-attributes',
}

function withLogin(login: Login, dialectOptions: object, prefix = ''): object {
  const tls = checkDriverOptions(login, dialectOptions, OWNED_OF_CONNECTION, prefix)
  const given = givenParameters(dialectOptions, PG_STARTUP_OPTIONS, prefix)
  const { clientMinMessages } = dialectOptions as { clientMinMessages?: unknown }
  refuseMessageLevel(login, `${prefix}clientMinMessages`, clientMinMessages)
  // `ssl` is said aloud, because pg reads PGSSLMODE where it is left out, and would start TLS inside of TLS.
  return {
    ...dialectOptions,
    ...(setsMessageLevel(login) ? {} : { clientMinMessages: 'ignore' }),
    ssl: false,
    stream: createStreamFactory(login, { tls, given, bootstrapQuery }),
  }
}

/**
 * Sequelize (6.37) sends `SET client_min_messages` on each connection, at `warning` where nothing is given. Aurora DSQL refuses it:
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/accessing.html
 */
function setsMessageLevel({ provider }: Login): boolean {
  return provider !== 'aurora-dsql'
}

/** Refuses a level that cannot be set. `'ignore'`, or `false` among Sequelize's own options, sets none. */
function refuseMessageLevel(login: Login, name: string, level: unknown): void {
  const isNone = level === undefined || level === null || level === false || level === ''
  const isIgnored = typeof level === 'string' && level.toLowerCase() === 'ignore'
  if (setsMessageLevel(login) || isNone || isIgnored) return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must not be given for Aurora DSQL, which cannot set it, got ${describeValue(level)}`,
    { hint: 'Remove it: Aurora DSQL refuses SET client_min_messages.' },
  )
}

/**
 * Whether Sequelize should leave the time zone of the session as it is. By itself it sets UTC on each connection. That is the time
 * zone of Aurora DSQL anyway, and Redshift does not know the syntax.
 */
function keepsTimeZone({ provider }: Login): boolean {
  return provider === 'aurora-dsql' || provider === 'redshift'
}

/**
 * Sequelize (6.37) sets up the session of a new connection, and asks for ranges and enums on its first ones. It leaks a connection on
 * which either fails.
 */
const bootstrapQuery: BootstrapQuery = (request) => {
  if (request.includes('WITH ranges AS')) return 'optional'
  return SETS_UP.some((statement) => request.includes(statement)) ? 'required' : undefined
}

const SETS_UP = [
  'SET standard_conforming_strings=',
  'SET client_min_messages TO ',
  'SET TIME ZONE ',
]

// The connection of a transaction of Sequelize whose COMMIT fails.

/**
 * Has `transaction` keep its connection where the server has answered COMMIT with an error, such as a conflict: the transaction is
 * rolled back then, and the session is as good as before. Sequelize (6.37) ends the connection of each COMMIT that fails, and
 * writes so to the console; on Aurora DSQL, where conflicts are every day's business, each would cost a new connection.
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

/** What `commit()` of Sequelize itself is made of. */
interface TransactionInternals {
  readonly connection: unknown
  readonly finished: string | undefined
  readonly options: object
  /** Gives the connection back to the pool. */
  cleanup(): void
  /** Ends the connection. */
  forceCleanup(): Promise<void>
}

// The `replication` option of Sequelize, with logins in the place of addresses.

/** Where Sequelize reads from; it writes to the login that is given first. */
export interface SequelizeReplication {
  /** The logins of the replicas, or of one reader endpoint, or their URLs: at least one. Connections are opened to each in turn. */
  read: readonly LoginOrUrl[]
}

/** The logins of the replicas, or `undefined` without replication. Throws `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT`. */
function readLogins(replication: unknown): readonly Login[] | undefined {
  if (replication === undefined || replication === null || replication === false) return undefined
  const { read } = checkOptions(replication, CHECKS, 'replication.')
  return oneOrMore<Login>((value, name) => loginOf(value as LoginOrUrl, name))(
    read,
    'replication.read',
  )
}

/** The login of the host that Sequelize is about to connect to. Throws `ERR_OPTION_CONFLICT` where there is none. */
function loginForHost(logins: readonly Login[], { host, port }: SequelizeConnectionConfig): Login {
  const isNamed = (place: Address | undefined): boolean =>
    place !== undefined && place.host === host && String(place.port) === String(port)
  const found = logins.find((login) => isNamed(login) || isNamed(login.connectTo))
  if (found !== undefined) return found
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"replication" names ${host}:${port}, and none of the logins is for that`,
    { hint: 'Give the hook a login for each host: sequelizeHook(writer, reader).' },
  )
}

const write: Check<never> = (_value, name) => {
  throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given with a login`, {
    hint: 'Give the login of the writer first, and those of the replicas as replication: { read: [login] }.',
  })
}

const CHECKS = { write, read: (value: unknown) => value } as const
