/** Logins for Knex. */
import type { Knex } from 'knex'
import { type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import {
  type TransactionConnection,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'
import { checkDriverOptions, OWNED_OF_PG } from '../core/connection/driver-options.js'
import {
  createStreamFactory,
  isPastLifetime,
  type LoginStreamOptions,
  loginOfFactory,
  markWithLogin,
} from '../core/connection/login-stream.js'
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import { checkClient, describeValue, withoutUndefined } from '../core/options/check.js'
import {
  type DsqlMigrationsOption,
  dsqlMigrationsOf,
  refuseTransactions,
} from '../migrations/in-options.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'

/**
 * Returns the configuration for `knex()`. Each physical connection logs in with its own token.
 *
 * Exported from `'pg-iam/knex'`.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @param config the options of `knex()` for PostgreSQL; `connection` without address, user, password and TLS, which the login determines
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines
 */
export function knexConfig(
  given: LoginOrUrl,
  { dsqlMigrations, ...config }: Knex.Config & DsqlMigrationsOption = {},
): Knex.Config {
  const login = loginOf(given)
  refuseOtherPaths(config)
  const { migrations } = config
  const table = migrations?.tableName ?? 'knex_migrations'
  const through = dsqlMigrationsOf(login, dsqlMigrations, 'knex', [table], {
    locks: [`${table}_lock`],
  })
  if (through !== undefined)
    refuseTransactions('migrations.disableTransactions', migrations?.disableTransactions, true)
  return {
    client: 'pg',
    // Without a version Knex (3.3) queries it on its first connection, and leaks that connection if the query fails.
    version: config.client === 'redshift' ? '8.0.2' : '16.0',
    // If only a dialect is given, Knex uses it. The `client` above would override it.
    ...('dialect' in config && config.client === undefined
      ? { client: config.dialect as string }
      : {}),
    ...withoutUndefined(config),
    pool: poolConfig(login, config.pool),
    connection: connectionConfig(login, config.connection as Knex.PgConnectionConfig, through),
    ...(through && { migrations: { ...migrations, disableTransactions: true } }),
  }
}

/**
 * Returns a connection function for `knex({ client: 'pg', connection })`. Each physical connection logs in with its own token. Knex calls
 * the function once and keeps the result, which is valid for any number of connections and tokens.
 *
 * Also give Knex a `version`, such as `'16.0'`. Otherwise it queries the version on its first connection, and leaks that connection if the
 * query fails.
 *
 * Exported from `'pg-iam/knex'`.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @param connection other settings of the connection, such as `application_name`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for settings that the login determines
 */
export function knexConnection(
  given: LoginOrUrl,
  connection: Knex.PgConnectionConfig = {},
): () => Promise<Knex.PgConnectionConfig> {
  const login = loginOf(given)
  const settings = connectionConfig(login, connection)
  // Knex calls it as a method of its client. It has no `expirationChecker`, with which Knex would end healthy connections.
  async function connect(this: unknown): Promise<Knex.PgConnectionConfig> {
    validateAge(this)
    return { ...settings }
  }
  return markWithLogin(connect, login)
}

/**
 * Runs `fn` in a Knex transaction, and retries it as a whole after a conflict.
 *
 * Exported from `'pg-iam/knex'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then.
 *
 * @param options those of `knex.transaction()`, and the retry options
 */
export async function knexTransaction<T>(
  knex: Knex,
  fn: (transaction: Knex.Transaction) => Promise<T>,
  options: Knex.TransactionConfig & RetryOptions = {},
): Promise<T> {
  checkClient(knex, 'knex', ['transaction'], 'what knex() returns')
  const { retry, own } = splitRetryOptions(options)
  return runTransaction({
    client: knex,
    login: loginOfKnex(knex),
    retry,
    fn,
    isNested: (knex as Knex & { isTransaction?: boolean }).isTransaction === true,
    attempt: (work, connected) =>
      knex.transaction((transaction) => runBegun(transaction, work, connected), own),
  })
}

/** Knex also calls the function after a failed BEGIN. It then reports the error of BEGIN. */
async function runBegun<T>(
  transaction: Knex.Transaction,
  work: (transaction: Knex.Transaction) => Promise<T>,
  connected: (connection: TransactionConnection | undefined) => void,
): Promise<T> {
  const { acquireConnection } = transaction.client as { acquireConnection(): Promise<unknown> }
  connected(watchPgClient(await acquireConnection()))
  if (transaction.isCompleted()) throw new Error('the transaction was not started')
  return work(transaction)
}

type Validate = NonNullable<Knex.PoolConfig['validate']>

/**
 * A connection past its maximum age is not handed out again. A connection in use is not affected, since the pool only checks idle ones. The
 * pool's `idleTimeoutMillis` ends idle connections, except `min` of them: two by default, where Knex's documentation recommends 0.
 */
function poolConfig(
  { maxLifetimeSecs }: Login,
  { validate, ...given }: Knex.PoolConfig = {},
): Knex.PoolConfig {
  const idleTimeoutMillis = Math.min(IDLE_MS, Math.round((maxLifetimeSecs ?? Infinity) * 200))
  return {
    ...(maxLifetimeSecs === undefined ? {} : { min: 0, idleTimeoutMillis }),
    ...given,
    validate: validator(validate),
  }
}

/** The default of tarn (3), Knex's pool. */
const IDLE_MS = 30_000

function validator(given: Validate | undefined): Validate {
  return (client) => !isPastLifetime(client) && (given?.(client) ?? true)
}

/** Prevents a Knex client from handing out connections past their maximum age. Its pool validates each connection with the client. */
function validateAge(client: unknown): void {
  // Knex (3.3) calls the connection function for each of its first connections.
  if (!isKnexClient(client) || validating.has(client)) return
  validating.add(client)
  const validate = client.validateConnection.bind(client)
  client.validateConnection = async (connection) =>
    !isPastLifetime(connection) && (await validate(connection))
}

const validating = new WeakSet<object>()

/** `this` is not a Knex client if the application calls the function itself. */
function isKnexClient(value: unknown): value is Pick<Knex.Client, 'validateConnection'> {
  return typeof (value as Partial<Knex.Client> | undefined)?.validateConnection === 'function'
}

/** With a connection function Knex has the settings only from its first connection on. */
function loginOfKnex(knex: Knex): Login | undefined {
  const { connectionSettings, config } = (knex.client ?? {}) as KnexInternals
  return loginOfFactory(connectionSettings?.stream) ?? loginOfFactory(config?.connection)
}

interface KnexInternals {
  connectionSettings?: { stream?: unknown }
  config?: Knex.Config
}

function connectionConfig(
  login: Login,
  connection: Knex.PgConnectionConfig = {},
  through?: LoginStreamOptions['through'],
): Knex.PgConnectionConfig {
  const tls = checkDriverOptions(login, connection, OWNED_OF_PG, 'connection.')
  const given = givenParameters(connection, PG_STARTUP_OPTIONS, 'connection.')
  const { expirationChecker: _checker, ...rest } = connection
  return {
    ...rest,
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { user: login.user }),
    // Set explicitly: pg would otherwise read PGSSLMODE and PGSSLNEGOTIATION, and start TLS inside TLS.
    ssl: false,
    ...NEGOTIATION,
    stream: createStreamFactory(login, { tls, given, ...(through && { through }) }),
  }
}

/** An option of pg that Knex passes on, but that its types lack. */
const NEGOTIATION: object = { sslnegotiation: 'postgres' }

/** Knex's dialects that connect with pg: PostgreSQL under all of its names, and databases with its protocol. */
const CLIENTS = ['pg', 'postgres', 'postgresql', 'redshift', 'cockroachdb']

/** Rejects options with which Knex would not open its connections with this driver. */
function refuseOtherPaths(config: Knex.Config): void {
  const { client, connection, dialect } = config as Knex.Config & { dialect?: unknown }
  refuseOtherDriver(client, 'client')
  refuseOtherDriver(dialect, 'dialect')
  if (typeof connection === 'string' || typeof connection === 'function') {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"connection" must be an object when a login is given, got ${describeValue(connection)}`,
      {
        hint: 'Create the login with loginFromUrl(url), and pass other settings as fields.',
      },
    )
  }
  if ('connectionPool' in config && config.connectionPool !== undefined) {
    throw new PgIamError('ERR_OPTION_CONFLICT', '"connectionPool" must not be given with a login', {
      hint: 'Create the pool with createPool() of pg-iam/pg, and pass it to Knex without knexConfig().',
    })
  }
}

/** Knex's class for pg-native extends the one for pg, and only loads a different driver. */
function extendsPg(client: { prototype?: object }): boolean {
  let prototype: KnexClient | null = client.prototype ?? null
  while (prototype !== null) {
    if (prototype.constructor?.name === 'Client_PgNative') return false
    if (Object.hasOwn(prototype, 'driverName') && prototype.driverName === 'pg') return true
    prototype = Object.getPrototypeOf(prototype) as KnexClient | null
  }
  return false
}

interface KnexClient {
  driverName?: unknown
  constructor?: { name?: string }
}

/** A class of the application is accepted if it extends one of Knex's pg clients. */
function refuseOtherDriver(client: unknown, name: string): void {
  if (client === undefined || client === null) return
  if (typeof client === 'string' && CLIENTS.includes(client)) return
  if (typeof client === 'function' && extendsPg(client)) return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must be "pg" with a login, or a dialect based on it, got ${describeValue(client)}`,
    {
      hint: `Supported clients: ${CLIENTS.join(', ')}, and classes that extend Knex's client for pg.`,
    },
  )
}
