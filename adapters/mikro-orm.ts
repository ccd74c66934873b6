/** Logins for MikroORM. It loads no package: MikroORM's objects are typed by the members that are used. */
import { AsyncLocalStorage } from 'node:async_hooks'
import {
  checkDriverOptions,
  jitteredMaxLifetime,
  OWNED_OF_PG,
  type OwnedByLogin,
} from '../core/connection/driver-options.js'
import {
  createStreamFactory,
  loginOfFactory,
  type LoginStreamOptions,
} from '../core/connection/login-stream.js'
import { isPgIamError, PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import {
  boolean,
  type Check,
  checkClient,
  checkOptions,
  describeValue,
  functionOf,
  invalidOption,
  isPlainObject,
  oneOf,
  withoutUndefined,
} from '../core/options/check.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'
import { RETRY_CHECKS, type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import {
  type DsqlMigrationsOption,
  dsqlMigrationsOf,
  refuseTransactions,
} from '../migrations/in-options.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import {
  attachLoss,
  endsTransaction,
  type TransactionConnection,
  transactionOver,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'

/** The options of MikroORM that the login determines or completes. All others are passed on. */
export interface MikroOrmLoginOptions extends DsqlMigrationsOption {
  /** The options of `pg.Pool`, and MikroORM's `onPoolCreated`. */
  driverOptions?: Readonly<Record<string, unknown>>
  /** The read replicas: logins or URLs, in place of MikroORM's addresses. */
  replicas?: readonly LoginOrUrl[]
}

/** With `disableForeignKeys` MikroORM sets `session_replication_role`, which Aurora DSQL refuses. */
const DSQL_MIGRATIONS = {
  transactional: false,
  allOrNothing: false,
  disableForeignKeys: false,
} as const

/** The options of one server, for MikroORM. */
export interface MikroOrmServer {
  host: string
  port: number
  dbName: string
  /** Absent if the first token determines the user. */
  user?: string
  driverOptions: Record<string, unknown>
}

/** The result of `mikroOrmOptions`: the given options and those of the login. */
export type MikroOrmResult<Options extends object> = {
  -readonly [
    Name in Exclude<keyof Options, OwnedName>
  ]: Options[Name] extends readonly (infer Each)[] ? Each[] : Options[Name]
} & MikroOrmServer & { replicas?: MikroOrmServer[]; migrations?: MigrationsOf<Options> }

/** MikroORM's own options of migrations, if they are given. */
type MigrationsOf<Options> = Options extends { migrations: infer Given } ? Given : object

type OwnedName =
  keyof MikroOrmServer | 'replicas' | 'password' | 'clientUrl' | 'dsqlMigrations' | 'migrations'

/**
 * Returns the options for `MikroORM.init()`, `new MikroORM()` or `defineConfig()` of `@mikro-orm/postgresql`. Each physical connection logs
 * in with its own token.
 *
 * Exported from `'pg-iam/mikro-orm'`.
 *
 * On its pool, MikroORM's own transactions, which include those of `em.flush()`, free the slot of a lost connection, and reject statements
 * that are sent during COMMIT, or later by a nested EntityManager. Without pg-iam, MikroORM 7.2 does not release a connection whose BEGIN or
 * ROLLBACK failed, or one of whose `onCreateConnection` and `onReserveConnection` failed.
 *
 * @param given the server to write to, and to read from without replicas: a login, or a URL for {@link loginFromUrl}
 * @param options MikroORM's options, except address, user, password and TLS, which the login determines. Read replicas are given as
 * logins or URLs, `replicas: [login]`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines
 */
export function mikroOrmOptions<const Options extends object = {}>(
  given: LoginOrUrl,
  options?: Options & MikroOrmLoginOptions,
): MikroOrmResult<Options>
export function mikroOrmOptions(
  given: LoginOrUrl,
  options: MikroOrmLoginOptions = {},
): MikroOrmServer & { replicas?: MikroOrmServer[] } {
  const login = loginOf(given)
  checkDriverOptions(login, options, OWNED)
  const { replicas: givenReplicas, driverOptions = {}, dsqlMigrations, ...rest } = options
  const { migrations = {} } = rest as { migrations?: Readonly<Record<string, unknown>> }
  const tables = [(migrations['tableName'] as string | undefined) ?? 'mikro_orm_migrations']
  const through = dsqlMigrationsOf(login, dsqlMigrations, 'mikro-orm', tables)
  if (through !== undefined)
    for (const name of Object.keys(DSQL_MIGRATIONS))
      refuseTransactions(`migrations.${name}`, migrations[name], false)
  checkPoolOptions(driverOptions)
  const replicas = givenReplicas === undefined ? undefined : loginsOf(givenReplicas)
  return {
    ...withoutUndefined(rest),
    ...hooksOf(options),
    ...serverOf(login, driverOptions, {}, through),
    ...(through && { migrations: { ...migrations, ...DSQL_MIGRATIONS } }),
    ...(replicas === undefined
      ? {}
      : // Without the address that the caller's options may have, which is that of the writer.
        { replicas: replicas.map((replica) => serverOf(replica, driverOptions, NO_ADDRESS)) }),
  }
}

/** The options of `em.transactional()` that a transaction function accepts, in the installed version. */
export type MikroOrmOwnOptions<EM extends MikroOrmEntityManager> = Pick<
  NonNullable<Parameters<EM['transactional']>[1]>,
  OwnOption & keyof NonNullable<Parameters<EM['transactional']>[1]>
>

type OwnOption =
  'isolationLevel' | 'readOnly' | 'flushMode' | 'ignoreNestedTransactions' | 'loggerContext'

/** The part of an EntityManager that `mikroOrmTransaction` uses. */
export interface MikroOrmEntityManager {
  readonly config: object
  fork(): MikroOrmEntityManager
  getDriver(): object
  getTransactionContext(): unknown
  transactional(work: never, options?: object): Promise<unknown>
}

/**
 * Runs `fn` in a MikroORM transaction, and retries it as a whole after a conflict.
 *
 * Each attempt has a new EntityManager with an empty identity map, so that it does not contain the entities of a failed attempt. Load
 * the entities in `fn`: those of `em` are not managed by it. Changes of `em` that were not flushed are not part of the transaction.
 *
 * Exported from `'pg-iam/mikro-orm'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then.
 *
 * @param em such as `orm.em`, or one of its forks
 * @param options those of `em.transactional()`, and the retry options. `signal` is that of the retries: to cancel statements, pass
 * `em.fork({ signal })`
 */
export async function mikroOrmTransaction<EM extends MikroOrmEntityManager, T>(
  em: EM,
  fn: (em: EM) => Promise<T>,
  options: MikroOrmOwnOptions<EM> & RetryOptions = {} as MikroOrmOwnOptions<EM>,
): Promise<T> {
  checkClient(em, 'em', ['fork', 'getDriver', 'getTransactionContext', 'transactional'], MANAGER)
  const { retry, own } = splitRetryOptions<RetryOptions>(options)
  const settings = checkOptions(
    own,
    { ...RETRY_CHECKS, ...TRANSACTION_CHECKS },
    '',
    TRANSACTION_HINTS,
  )
  return runTransaction({
    // All forks of an EntityManager share it.
    client: em.getDriver(),
    login: loginOfManager(em),
    isNested: isActive(em.getTransactionContext()),
    retry,
    fn,
    attempt: (work, connected) => {
      const start: Start = { connected, checkout: undefined }
      // MikroORM (7.2) adds properties to the options.
      const run = (): Promise<T> =>
        em.fork().transactional(work as never, { ...settings }) as Promise<T>
      return starts()
        .run(start, run)
        .finally(() => abandonLater(start))
    },
  })
}

const MANAGER = 'an EntityManager of MikroORM, such as orm.em'

const logContext: Check<object> = (value, name) => {
  if (!isPlainObject(value)) throw invalidOption(name, 'an object', value)
  return value
}

const TRANSACTION_CHECKS = {
  isolationLevel: oneOf('read uncommitted', 'read committed', 'repeatable read', 'serializable'),
  readOnly: boolean,
  flushMode: oneOf('commit', 'auto', 'always'),
  ignoreNestedTransactions: boolean,
  loggerContext: logContext,
} as const satisfies Record<OwnOption, Check<unknown>>

const NEW_TRANSACTION =
  'Remove it: the transaction is always a new one, which can be retried as a whole.'
const TRANSACTION_HINTS: Readonly<Record<string, string>> = {
  propagation: NEW_TRANSACTION,
  ctx: NEW_TRANSACTION,
  clear: 'Remove it: each attempt starts with an empty identity map.',
}

/** Code that was started in a transaction, and outlived it, still has its context. */
function isActive(context: unknown): boolean {
  const { isCommitted, isRolledBack } = (context ?? {}) as {
    isCommitted?: boolean
    isRolledBack?: boolean
  }
  return context !== undefined && context !== null && isCommitted !== true && isRolledBack !== true
}

function loginOfManager({ config }: MikroOrmEntityManager): Login | undefined {
  const { get } = config as { get?: unknown }
  if (typeof get !== 'function') return undefined
  const driverOptions: unknown = Reflect.apply(get, config, ['driverOptions'])
  return isPlainObject(driverOptions) ? loginOfFactory(driverOptions['stream']) : undefined
}

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  user: 'user',
  dbName: 'database',
  password: 'password',
  clientUrl: 'url',
}

const PREFIX = 'driverOptions.'
/** What the options of a replica cannot agree with. */
const NO_ADDRESS = { host: undefined, port: undefined, user: undefined, database: undefined }

/** Rejects the other forms of MikroORM's `driverOptions`, with which it would not create the pool. */
function checkPoolOptions(driverOptions: unknown): void {
  const expected = 'an object with the options of pg.Pool when a login is given'
  const isOther =
    !isPlainObject(driverOptions) ||
    'createDriver' in driverOptions ||
    'getExecutor' in driverOptions
  if (isOther)
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"driverOptions" must be ${expected}, got ${describeValue(driverOptions)}`,
      {
        hint: 'With a custom Kysely instance or dialect, MikroORM creates no pool, so the login would not be used.',
      },
    )
  if (driverOptions['connection'] !== undefined)
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      '"driverOptions.connection" must not be given with a login',
      { hint: 'MikroORM 7 passes the fields of "driverOptions" to pg: move them up by one level.' },
    )
}

function loginsOf(replicas: unknown): Login[] {
  const expected = 'a list of logins, such as rds() returns'
  if (!Array.isArray(replicas)) throw invalidOption('replicas', expected, replicas)
  return replicas.map((each, index) => loginOf(each as LoginOrUrl, `replicas[${index}]`))
}

function serverOf(
  login: Login,
  given: Readonly<Record<string, unknown>>,
  without: object = {},
  through?: LoginStreamOptions['through'],
): MikroOrmServer {
  const own = { ...given, ...without }
  const tls = checkDriverOptions(login, own, OWNED_OF_PG, PREFIX)
  const parameters = givenParameters(own, PG_STARTUP_OPTIONS, PREFIX)
  const onPoolCreated = optionalFunction(given['onPoolCreated'], `${PREFIX}onPoolCreated`)
  return {
    host: login.host,
    port: login.port,
    dbName: login.database,
    ...(login.user === undefined ? {} : { user: login.user }),
    driverOptions: {
      ...jitteredMaxLifetime(login),
      ...withoutUndefined(own),
      // Set explicitly: pg would otherwise read PGSSLMODE and PGSSLNEGOTIATION, and start TLS inside TLS.
      ssl: false,
      sslnegotiation: 'postgres',
      stream: createStreamFactory(login, { tls, given: parameters, ...(through && { through }) }),
      onPoolCreated: (pool: GuardedPool) => {
        guardCheckouts(pool)
        return onPoolCreated?.(pool)
      },
    },
  }
}

function optionalFunction(
  value: unknown,
  name: string,
): ((...args: unknown[]) => unknown) | undefined {
  return value === undefined || value === null
    ? undefined
    : functionOf<(...args: unknown[]) => unknown>()(value, name)
}

// The transaction that `mikroOrmTransaction` is starting.

interface Start {
  readonly connected: (connection: TransactionConnection | undefined) => void
  /** The connection of its transaction, once BEGIN was sent. Further ones are those of its function. */
  checkout: { abandon(): void } | undefined
}

const STARTS: unique symbol = Symbol.for('pg-iam.mikro-orm-starts') as never

/** Shared by the ESM and the CommonJS copy of the package. */
function starts(): AsyncLocalStorage<Start> {
  const holder = globalThis as { [STARTS]?: AsyncLocalStorage<Start> }
  return (holder[STARTS] ??= new AsyncLocalStorage<Start>())
}

/** Frees the slot if MikroORM has not, as after an error of an event subscriber. MikroORM (7.2) releases it some microtasks later. */
function abandonLater({ checkout }: Start): void {
  if (checkout !== undefined) setImmediate(() => checkout.abandon())
}

// The pool of MikroORM, whose connections are limited to one transaction.

interface GuardedPool {
  connect(...args: unknown[]): unknown
}

/** The options of MikroORM for a connection of Kysely. */
type ConnectionHook = (connection: KyselyConnection, ...rest: unknown[]) => Promise<void>

interface KyselyConnection {
  executeQuery(query: object): Promise<{ rows: unknown[] }>
}

/**
 * Kysely (0.28, 0.29) calls `onCreateConnection` for each client that it has not seen before, which is each checkout here, and does not
 * release the client if one of the functions fails.
 */
function hooksOf(options: object): Record<string, ConnectionHook> {
  const { onCreateConnection, onReserveConnection, sessionContext } = options as Readonly<
    Record<string, unknown>
  >
  const onCreate = optionalFunction(onCreateConnection, 'onCreateConnection')
  const onReserve = optionalFunction(onReserveConnection, 'onReserveConnection')
  const hooks: Record<string, ConnectionHook> = {}
  if (onCreate !== undefined)
    hooks['onCreateConnection'] = async (connection, ...rest) => {
      const checkout = await checkoutOf(connection)
      if (checkout.isFirst) await checkout.setUp(() => onCreate(connection, ...rest))
    }
  // MikroORM sets the context of the session before it calls the function.
  if (onReserve !== undefined || sessionContext === 'connection')
    hooks['onReserveConnection'] = async (connection, ...rest) => {
      const checkout = await checkoutOf(connection)
      await checkout.setUp(() => onReserve?.(connection, ...rest))
    }
  return hooks
}

/** In place of a statement, it asks a client for its checkout: Kysely's connections have no property for their client. */
const CHECKOUT = Symbol('checkout')

async function checkoutOf(connection: KyselyConnection): Promise<Checkout> {
  const { rows } = await connection.executeQuery({ sql: CHECKOUT, parameters: [] })
  return rows[0] as Checkout
}

/** The members of a client of pg that are used. */
interface PooledClient {
  query(...args: unknown[]): unknown
  release(destroy?: unknown): void
}

/**
 * Patches `connect` of a pool, so that Kysely, on which MikroORM is built, gets a client that rejects statements outside of its transaction.
 * It is another one for each checkout: what is left of a transaction, such as a nested EntityManager, cannot reach the connection again.
 */
function guardCheckouts(pool: GuardedPool): void {
  const connect = pool.connect.bind(pool) as (callback?: unknown) => Promise<PooledClient>
  const guardedConnect = (callback?: unknown): Promise<PooledClient> =>
    callback === undefined
      ? connect().then((client) => new Checkout(client).client, rejectKept)
      : connect(callback)
  Object.defineProperty(pool, 'connect', {
    value: guardedConnect,
    configurable: true,
    writable: true,
  })
}

/** The clients that were checked out before. */
const KNOWN = new WeakSet<PooledClient>()

/** A client from its checkout to its release. */
class Checkout {
  /** The client to use until then. */
  readonly client: PooledClient
  /** Whether it is the first one of the physical connection. */
  readonly isFirst: boolean
  readonly #target: PooledClient
  #transaction: TransactionConnection | undefined
  /** Between BEGIN and a successful COMMIT or ROLLBACK, the state of the connection is unknown. */
  #isClean = true
  #isClosed = false
  #isReleased = false
  /** Whether MikroORM is setting the context of the session. */
  #isBeingSet = false

  constructor(target: PooledClient) {
    this.#target = target
    this.isFirst = !KNOWN.has(target)
    KNOWN.add(target)
    const members = {
      query: (...args: unknown[]): unknown => this.query(args),
      release: (destroy?: unknown): void => this.release(destroy),
    }
    this.client = new Proxy(target, {
      get(_, name) {
        if (name === 'query' || name === 'release') return members[name]
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
  }

  query(args: readonly unknown[]): unknown {
    const [query] = args
    if (query === CHECKOUT) return Promise.resolve({ rows: [this] })
    if (this.#isReleased || (this.#isClosed && !endsTransaction(query))) return refuse(query)
    const command = commandOf(args)
    if (command === 'begin') this.#begin()
    if (command === 'reset all') this.#isBeingSet = true
    // Kysely (0.29) does not wait for COMMIT before it sends a late statement.
    if (command === 'commit' || command === 'rollback') this.#isClosed = true
    const result = this.#target.query(...args)
    if (!(result instanceof Promise)) return result
    return result.then(
      (value: unknown) => {
        if (command === 'commit' || command === 'rollback') this.#isClean = true
        return value
      },
      (error: unknown) => {
        // Kysely (0.29) does not release the client if BEGIN, ROLLBACK or the context of the session fails.
        if (command === 'begin' || command === 'rollback' || this.#isBeingSet) this.abandon()
        return rejectKept(attachLoss(this.#transaction?.loss, error))
      },
    )
  }

  /** Calls a function of the application that sets the connection up, and closes the connection if that fails. */
  async setUp(hook: () => unknown): Promise<void> {
    this.#isBeingSet = false
    try {
      await hook()
    } catch (error) {
      this.abandon()
      throw error
    }
  }

  release(destroy?: unknown): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#transaction?.release()
    this.#target.release(this.#isClean ? destroy : true)
  }

  /** Closes the connection, unless it was released. */
  abandon(): void {
    this.release(true)
  }

  #begin(): void {
    this.#transaction?.release()
    this.#transaction = watchPgClient(this.#target)
    this.#isClean = false
    this.#isClosed = false
    const start = starts().getStore()
    if (start === undefined || start.checkout !== undefined) return
    start.checkout = this
    start.connected(this.#transaction)
  }
}

/**
 * Which statement for a transaction Kysely (0.28, 0.29) sends, or with which one MikroORM (7.2) begins to set the context of a session: it is
 * in lower case, and has an empty list of parameters.
 */
function commandOf([query, values]: readonly unknown[]):
  'begin' | 'commit' | 'rollback' | 'reset all' | undefined {
  if (typeof query !== 'string' || !Array.isArray(values) || values.length > 0) return undefined
  if (query === 'commit' || query === 'rollback' || query === 'reset all') return query
  return query === 'begin' || query.startsWith('start transaction') ? 'begin' : undefined
}

/** A cursor of pg has no promise. */
function refuse(query: unknown): Promise<never> {
  if (typeof (query as { submit?: unknown } | null | undefined)?.submit === 'function')
    throw transactionOver()
  return rejectKept(transactionOver())
}

/**
 * Rejects with `error`. MikroORM (7.2) replaces the error of a statement with a DriverException that has its properties, but not its class.
 * So a PgIamError is the `cause` of the error that is replaced, and thereby of the DriverException.
 */
function rejectKept(error: unknown): Promise<never> {
  if (!isPgIamError(error)) return Promise.reject(error as Error)
  const { code, message, hint, retryable } = error
  const details = { retryable, cause: error, ...(hint === undefined ? {} : { hint }) }
  return Promise.reject(new PgIamError(code, message, details))
}
