/** Logins for Kysely. */
import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type AccessMode,
  CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Driver,
  type IsolationLevel,
  type Kysely,
  type KyselyPlugin,
  PostgresAdapter,
  PostgresDialect,
  type PostgresDialectConfig,
  PostgresDriver,
  type QueryCompiler,
  type QueryResult,
  type Transaction,
  type TransactionSettings,
} from 'kysely'
import { Pool, type PoolClient, type PoolConfig } from 'pg'
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import {
  boolean,
  type Check,
  checkClient,
  checkOptions,
  functionOf,
  invalidOption,
  isPlainObject,
  oneOf,
} from '../core/options/check.js'
import { RETRY_CHECKS, type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import {
  attachLoss,
  endsTransaction,
  type TransactionConnection,
  transactionOver,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'
import { type DsqlMigrationsOption, dsqlMigrationsOf } from '../migrations/in-options.js'
import { ignore, poolConfig as configOfPool } from './pg/config.js'

/** The options of Kysely's `PostgresDialect`, with the options of `pg.Pool` in place of a pool. */
export interface KyselyDialectConfig
  extends Omit<PostgresDialectConfig, 'pool'>, DsqlMigrationsOption {
  pool?: PoolConfig
}

/**
 * Returns the dialect for `new Kysely()`, on a `pg.Pool`. Each physical connection logs in with its own token. `db.destroy()` ends the
 * pool.
 *
 * Exported from `'pg-iam/kysely'`.
 *
 * Transactions of Kysely on this dialect reject with the first error, close a connection whose state is unknown, and reject statements
 * during and after COMMIT. Kysely's own dialect rejects with the error of the ROLLBACK that follows, and runs statements that are sent
 * during COMMIT outside the transaction.
 *
 * @param login a login, or a URL for {@link loginFromUrl}
 * @param config `pool` has the options of `pg.Pool`, except address, user, password and TLS, which the login determines
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options of `pool` that the login determines
 */
export function kyselyDialect(
  login: LoginOrUrl,
  config: KyselyDialectConfig = {},
): PostgresDialect {
  return new LoginDialect(loginOf(login), checkOptions(config, DIALECT_CHECKS, '', POOL_HINTS))
}

/** Kysely's options for a transaction, and those for retries. */
export interface KyselyTransactionOptions extends RetryOptions {
  /** Default: the server's. Aurora DSQL only supports `repeatable read`. */
  isolationLevel?: Exclude<IsolationLevel, 'snapshot'>
  /** Default: the server's. */
  accessMode?: AccessMode
}

/**
 * Runs `fn` in a Kysely transaction, and retries it as a whole after a conflict. `fn` can use the transaction until it settles; later
 * statements are rejected with `ERR_CLOSED`, or with Kysely's own error if they were compiled before.
 *
 * Exported from `'pg-iam/kysely'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then.
 *
 * @param db a Kysely on the dialect of `kyselyDialect`, or one derived from it, as by `withSchema()`
 */
export async function kyselyTransaction<DB, T>(
  db: Kysely<DB>,
  fn: (transaction: Transaction<DB>) => Promise<T>,
  options: KyselyTransactionOptions = {},
): Promise<T> {
  checkClient(db, 'db', ['transaction', 'withPlugin'], DATABASE)
  const { retry, own } = splitRetryOptions(options)
  const { isolationLevel, accessMode } = checkOptions(own, TRANSACTION_CHECKS)
  const { login, starts } = internalsOf(db)
  return runTransaction({
    client: starts,
    login,
    isNested: db.isTransaction,
    retry,
    fn,
    attempt: (work, connected) => {
      let builder = db.transaction()
      if (isolationLevel !== undefined) builder = builder.setIsolationLevel(isolationLevel)
      if (accessMode !== undefined) builder = builder.setAccessMode(accessMode)
      const execute = (): Promise<T> => builder.execute((begun) => untilSettled(begun, work))
      return starts.run({ connected, isTaken: false }, execute)
    },
  })
}

/** Kysely (0.28) asserts the same when a query is executed, but with an error without a code. */
async function untilSettled<DB, T>(
  transaction: Transaction<DB>,
  work: (transaction: Transaction<DB>) => Promise<T>,
): Promise<T> {
  let isOver = false
  const guard: KyselyPlugin = {
    transformQuery({ node }) {
      if (isOver) throw transactionOver()
      return node
    },
    transformResult: async ({ result }) => result,
  }
  try {
    return await work(transaction.withPlugin(guard))
  } finally {
    isOver = true
  }
}

const DATABASE = 'a Kysely on the dialect that kyselyDialect() returns'

const TRANSACTION_CHECKS = {
  ...RETRY_CHECKS,
  isolationLevel: oneOf('read uncommitted', 'read committed', 'repeatable read', 'serializable'),
  accessMode: oneOf('read only', 'read write'),
} as const

const poolConfig: Check<PoolConfig> = (value, name) => {
  const expected = 'an object with the options of pg.Pool'
  // A pool of the application is an object as well. It would be ignored.
  if (!isPlainObject(value) || typeof value['connect'] === 'function')
    throw invalidOption(name, expected, value, 'kyselyDialect() creates the pool.')
  return value
}

const DIALECT_CHECKS = {
  dsqlMigrations: boolean,
  pool: poolConfig,
  cursor: functionOf<NonNullable<PostgresDialectConfig['cursor']>>(),
  onCreateConnection: functionOf<NonNullable<PostgresDialectConfig['onCreateConnection']>>(),
  onReserveConnection: functionOf<NonNullable<PostgresDialectConfig['onReserveConnection']>>(),
} as const

const POOL_HINTS: Readonly<Record<string, string>> = Object.fromEntries(
  [
    ...['host', 'port', 'user', 'database', 'password', 'connectionString', 'ssl', 'options'],
    ...['max', 'min', 'maxUses', 'maxLifetimeSeconds', 'idleTimeoutMillis', 'allowExitOnIdle'],
    ...['connectionTimeoutMillis', 'application_name', 'statement_timeout', 'query_timeout'],
    ...['lock_timeout', 'idle_in_transaction_session_timeout', 'keepAlive', 'onConnect', 'types'],
  ].map((option) => [option, `Options of the pool are fields of "pool": { pool: { ${option} } }.`]),
)

// The dialect, from which the transaction function learns its login and its connection.

interface Start {
  readonly connected: (connection: TransactionConnection | undefined) => void
  /** Whether its transaction has begun. Further ones are those of its function. */
  isTaken: boolean
}

interface Internals {
  readonly login: Login
  /** Holds the transaction that `kyselyTransaction` is starting. */
  readonly starts: AsyncLocalStorage<Start>
}

const INTERNALS: unique symbol = Symbol.for('pg-iam.kysely-dialect') as never

/** Kysely (0.28) takes an advisory lock, also with `disableTransactions`. Aurora DSQL has none: the lease keeps others out. */
class DsqlMigrationsAdapter extends PostgresAdapter {
  override get supportsTransactionalDdl(): boolean {
    return false
  }

  override async acquireMigrationLock(): Promise<void> {}

  override async releaseMigrationLock(): Promise<void> {}
}

class LoginDialect extends PostgresDialect {
  readonly #internals: Internals
  readonly #pool: Pool
  readonly #config: DriverConfig
  readonly #isForMigrations: boolean

  constructor(
    login: Login,
    { pool: options = {}, dsqlMigrations, ...config }: KyselyDialectConfig,
  ) {
    const through = dsqlMigrationsOf(login, dsqlMigrations, 'kysely', ['kysely_migration'])
    const pool = new Pool(configOfPool(login, options, { ...(through && { through }) }))
    // Without a listener the loss of an idle connection ends the process. The pool has already removed the connection.
    pool.on('error', ignore)
    super({ ...config, pool })
    this.#internals = { login, starts: new AsyncLocalStorage() }
    this.#pool = pool
    this.#config = config
    this.#isForMigrations = through !== undefined
  }

  override createAdapter(): PostgresAdapter {
    return this.#isForMigrations ? new DsqlMigrationsAdapter() : new PostgresAdapter()
  }

  override createDriver(): Driver {
    return new LoginDriver(this.#pool, this.#config, this.#internals.starts)
  }

  override createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    // The only object of the dialect that is accessible from a Kysely. The symbol is shared by the ESM and the CommonJS copy of the package.
    const introspector = super.createIntrospector(db)
    return Object.defineProperty(introspector, INTERNALS, { value: this.#internals })
  }
}

function internalsOf(db: object): Internals {
  const { introspection } = db as { introspection?: { [INTERNALS]?: Internals } }
  const internals = introspection?.[INTERNALS]
  if (internals === undefined) throw invalidOption('db', DATABASE, db)
  return internals
}

// The driver: Kysely's own statements, on connections that are limited to what Kysely acquired them for.

type DriverConfig = Omit<PostgresDialectConfig, 'pool'>

type CompileQuery = QueryCompiler['compileQuery']

class LoginDriver implements Driver {
  readonly #pool: Pool
  readonly #config: DriverConfig
  readonly #starts: AsyncLocalStorage<Start>
  readonly #connections = new WeakMap<PoolClient, DatabaseConnection>()
  /** Sends Kysely's statements for transactions. It opens no connection. */
  readonly #own: PostgresDriver

  constructor(pool: Pool, config: DriverConfig, starts: AsyncLocalStorage<Start>) {
    this.#own = new PostgresDriver({ pool })
    this.#pool = pool
    this.#config = config
    this.#starts = starts
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<Lease> {
    const client = await this.#pool.connect()
    try {
      const connection = await this.#connectionOf(client)
      await this.#config.onReserveConnection?.(connection)
      return new Lease(client, connection)
    } catch (error) {
      // Kysely (0.28) keeps the connection if one of the functions fails.
      client.release(true)
      throw error
    }
  }

  async beginTransaction(lease: Lease, settings: TransactionSettings): Promise<void> {
    const connection = lease.begin()
    const start = this.#starts.getStore()
    if (start !== undefined && !start.isTaken) {
      start.isTaken = true
      start.connected(connection)
    }
    await this.#own.beginTransaction(lease, settings)
  }

  async commitTransaction(lease: Lease): Promise<void> {
    lease.close()
    try {
      await this.#own.commitTransaction(lease)
    } catch (error) {
      // Kysely (0.28.19) also rejects if the server has answered with ROLLBACK.
      if (lease.isAnswered) lease.ended()
      throw error
    }
    lease.ended()
  }

  /**
   * Resolves even if ROLLBACK failed, so that Kysely rejects with the error that led to it. The server rolls back the transaction, because
   * the connection is closed.
   */
  async rollbackTransaction(lease: Lease): Promise<void> {
    lease.close()
    try {
      await lease.executeQuery(CompiledQuery.raw('rollback'))
    } catch {
      return
    }
    lease.ended()
  }

  async savepoint(lease: Lease, name: string, compileQuery: CompileQuery): Promise<void> {
    await this.#own.savepoint(lease, name, compileQuery)
  }

  async rollbackToSavepoint(lease: Lease, name: string, compileQuery: CompileQuery): Promise<void> {
    await this.#own.rollbackToSavepoint(lease, name, compileQuery)
  }

  async releaseSavepoint(lease: Lease, name: string, compileQuery: CompileQuery): Promise<void> {
    await this.#own.releaseSavepoint(lease, name, compileQuery)
  }

  async releaseConnection(lease: Lease): Promise<void> {
    lease.release()
  }

  async destroy(): Promise<void> {
    await this.#pool.end()
  }

  /** Kysely's connection on a client of pg, which only a driver can create. It is created once for each client. */
  async #connectionOf(client: PoolClient): Promise<DatabaseConnection> {
    const known = this.#connections.get(client)
    if (known !== undefined) return known
    const { onReserveConnection: _each, ...config } = this.#config
    const pool = { connect: async () => client, end: async () => {} }
    const driver = new PostgresDriver({ ...config, pool })
    await driver.init()
    const connection = await driver.acquireConnection()
    this.#connections.set(client, connection)
    return connection
  }
}

/** A connection from its acquisition to its release. Kysely (0.28) sends statements even during COMMIT, and after the release. */
class Lease implements DatabaseConnection {
  readonly #client: PoolClient
  readonly #connection: DatabaseConnection
  #transaction: TransactionConnection | undefined
  /** Between BEGIN and a successful COMMIT or ROLLBACK, the state of the connection is unknown. */
  #isClean = true
  #isClosed = false
  #isReleased = false

  constructor(client: PoolClient, connection: DatabaseConnection) {
    this.#client = client
    this.#connection = connection
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    this.#checkOpen(query)
    try {
      return await this.#connection.executeQuery<R>(query)
    } catch (error) {
      throw attachLoss(this.#transaction?.loss, error)
    }
  }

  async *streamQuery<R>(
    query: CompiledQuery,
    chunkSize?: number,
  ): AsyncIterableIterator<QueryResult<R>> {
    this.#checkOpen(query)
    try {
      yield* this.#connection.streamQuery<R>(query, chunkSize)
    } catch (error) {
      throw attachLoss(this.#transaction?.loss, error)
    }
  }

  /** Whether the server has answered COMMIT without an error. */
  get isAnswered(): boolean {
    return this.#transaction?.commit === 'answered'
  }

  /** Starts a transaction. A connection of `db.connection()` may have several, one after the other. */
  begin(): TransactionConnection | undefined {
    this.#transaction?.release()
    this.#transaction = watchPgClient(this.#client)
    this.#isClean = false
    this.#isClosed = false
    return this.#transaction
  }

  /** Rejects all statements except COMMIT and ROLLBACK. */
  close(): void {
    this.#isClosed = true
  }

  /** Reopens the connection for statements outside the transaction, once Kysely rejects those of the transaction itself. */
  ended(): void {
    this.#isClean = true
    // Kysely (0.28) does so in the microtask that follows.
    queueMicrotask(() => queueMicrotask(() => (this.#isClosed = false)))
  }

  release(): void {
    this.#isReleased = true
    this.#transaction?.release()
    this.#client.release(!this.#isClean)
  }

  #checkOpen({ sql }: CompiledQuery): void {
    if (this.#isReleased)
      throw this.#transaction === undefined ? connectionReleased() : transactionOver()
    if (this.#isClosed && !endsTransaction(sql)) throw transactionOver()
  }
}

function connectionReleased(): PgIamError {
  return new PgIamError(
    'ERR_CLOSED',
    'the connection was released, and may already be in use elsewhere',
    {
      hint: 'Await each statement before the function of connection() returns.',
    },
  )
}
