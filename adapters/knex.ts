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
  loginOfFactory,
  markWithLogin,
} from '../core/connection/login-stream.js'
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import { checkClient, describeValue } from '../core/options/check.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'

/**
 * Returns the configuration for `knex()`: every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/knex'`.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @param config whatever `knex()` takes for PostgreSQL; `connection` without address, user, password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function knexConfig(given: LoginOrUrl, config: Knex.Config = {}): Knex.Config {
  const login = loginOf(given)
  refuseOtherPaths(config)
  return {
    client: 'pg',
    // Without a version Knex (3.3) asks for it on its first connection, which it leaves open where that fails.
    version: config.client === 'redshift' ? '8.0.2' : '16.0',
    // Where only a dialect is given Knex takes that, which the client above it would replace.
    ...('dialect' in config && config.client === undefined
      ? { client: config.dialect as string }
      : {}),
    ...config,
    pool: poolConfig(login, config.pool),
    connection: connectionConfig(login, (config.connection ?? {}) as Knex.PgConnectionConfig),
  }
}

/**
 * Returns a connection function for `knex({ client: 'pg', connection })`: every physical connection logs in with a token of
 * its own. Knex asks it once and keeps what it gives, which is good for any number of connections and tokens.
 *
 * Give Knex a `version` beside it, such as `'16.0'`: else it asks for one on its first connection, and leaves that open where the
 * query fails.
 *
 * Exported from `'pg-iam/knex'`.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @param connection other settings of the connection, such as `application_name`
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for settings that the login has already
 */
export function knexConnection(
  given: LoginOrUrl,
  connection: Knex.PgConnectionConfig = {},
): () => Promise<Knex.PgConnectionConfig> {
  const login = loginOf(given)
  const settings = connectionConfig(login, connection)
  // Knex calls it as a method of its client. No `expirationChecker`: with one Knex ends connections that are in good health.
  async function connect(this: unknown): Promise<Knex.PgConnectionConfig> {
    refuseAged(this)
    return { ...settings }
  }
  return markWithLogin(connect, login)
}

/**
 * Runs `fn` in a transaction of Knex, and again as a whole when it met a conflict.
 *
 * Exported from `'pg-iam/knex'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost after COMMIT was written; then nothing is retried.
 *
 * @param options those of `knex.transaction()`, and those of the retry
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
      knex.transaction((transaction) => begun(transaction, work, connected), own),
  })
}

/** Knex calls the function also where BEGIN has failed, and then reports what BEGIN failed with. */
async function begun<T>(
  transaction: Knex.Transaction,
  work: (transaction: Knex.Transaction) => Promise<T>,
  connected: (connection: TransactionConnection | undefined) => void,
): Promise<T> {
  const { acquireConnection } = transaction.client as { acquireConnection(): Promise<unknown> }
  connected(watchPgClient(await acquireConnection()))
  if (transaction.isCompleted()) throw new Error('the transaction has not begun')
  return work(transaction)
}

type Validate = NonNullable<Knex.PoolConfig['validate']>

/**
 * A connection that is past its age is not handed out again; one that is in use stays, because the pool looks at neither then. An
 * idle one is ended by the pool's `idleTimeoutMillis`, but for `min` of them: by default two, where Knex's documentation recommends 0.
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

/** What tarn (3), Knex's pool, has where none is given. */
const IDLE_MS = 30_000

function validator(given: Validate | undefined): Validate {
  return (client) => !isPastLifetime(client) && (given?.(client) ?? true)
}

/** Has a client of Knex hand out no connection that is past its age: its pool asks it about each. */
function refuseAged(client: unknown): void {
  // Knex (3.3) calls the connection function for each of the connections that it opens first.
  if (!isKnexClient(client) || refusing.has(client)) return
  refusing.add(client)
  const validate = client.validateConnection.bind(client)
  client.validateConnection = async (connection) =>
    !isPastLifetime(connection) && (await validate(connection))
}

const refusing = new WeakSet<object>()

/** It is none where the application calls the function itself. */
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
  connection: Knex.PgConnectionConfig,
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
    // Said aloud, because pg reads PGSSLMODE and PGSSLNEGOTIATION where they are left out, and would start TLS inside of TLS.
    ssl: false,
    ...NEGOTIATION,
    stream: createStreamFactory(login, { tls, given }),
  }
}

/** An option of pg that Knex passes on, and that is missing in its types. */
const NEGOTIATION: object = { sslnegotiation: 'postgres' }

/** Knex's dialects that connect by pg: those of PostgreSQL, under all of its names, and those that speak its protocol. */
const CLIENTS = ['pg', 'postgres', 'postgresql', 'redshift', 'cockroachdb']

/** Everything that would have Knex open its connections in another way. */
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
      hint: 'Make the pool with createPool() of pg-iam/pg and give it to Knex without knexConfig().',
    })
  }
}

/** Knex's class for pg-native extends the one for pg, and differs only in what it loads. */
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

/** A class of the application's own is taken where it extends one of Knex's on pg. */
function refuseOtherDriver(client: unknown, name: string): void {
  if (client === undefined || client === null) return
  if (typeof client === 'string' && CLIENTS.includes(client)) return
  if (typeof client === 'function' && extendsPg(client)) return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must be "pg" with a login, or a dialect on it, got ${describeValue(client)}`,
    { hint: `Supported clients: ${CLIENTS.join(', ')}, and classes that extend Knex's client for pg.` },
  )
}
