/** Logins for Postgres.js. */
import postgres, { type Options, type PostgresType, type Sql, type TransactionSql } from 'postgres'
import {
  insideRetry,
  isInsideRetry,
  RETRY_CHECKS,
  retryOptions,
  type RetryOptions,
  splitRetryOptions,
} from '../core/transactions/retry.js'
import { nestedTransaction, runTransaction } from '../core/transactions/run-transaction.js'
import {
  checkClient,
  checkOptions,
  invalidOption,
  isPlainObject,
  text,
} from '../core/options/check.js'
import { PADDING_PARAMETER } from '../core/connection/open-connection.js'
import type { BootstrapQuery, FatalError } from '../core/connection/backend-tracker.js'
import { checkDriverOptions, type OwnedByLogin } from '../core/connection/driver-options.js'
import {
  createStreamFactory,
  jitteredLifetimeSecs,
  loginOfFactory,
  type LoginStream,
  markWithLogin,
} from '../core/connection/login-stream.js'
import { internalsOf, type Login } from '../core/login.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import { givenParameters } from '../core/options/startup-parameters.js'
import {
  announceClosing,
  type BackendState,
  bareBegin,
  type Begin,
  connectionOf,
  markSafe,
  RETRY,
  retryOf,
  returned,
  safeBegin,
  safeReserve,
  socketOf,
  type Work,
} from './postgres-js/transactions.js'

/** What `postgres()` takes, and what of its transactions is retried. */
export type PostgresJsOptions<T extends Record<string, PostgresType> = {}> = Options<T> & {
  /**
   * Whether `sql.begin` runs a transaction again as a whole that met a conflict, as `sqlTransaction` does, and how often. Savepoints,
   * and transactions that are begun inside of another one that is retried, are not retried by themselves. Default `false`.
   */
  retryBegin?: boolean | RetryOptions
}

/**
 * Returns a Postgres.js instance whose every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * Its `begin` outlives the death of a connection: the bare one ends the process, or runs what is left of the transaction's
 * function on the next connection, statement by statement.
 *
 * With `retryBegin` it runs a transaction again that met a conflict, and rejects as `sqlTransaction` does.
 *
 * Its `reserve` outlives that, too, and the age of a connection: one that is past it when it is released is replaced. After `release()`
 * statements reject with `ERR_CLOSED`; a transaction that was left open is rolled back.
 *
 * @param login a login, or a URL for {@link loginFromUrl}
 * @param options whatever `postgres()` takes, but for the address, the user, the password and TLS, which are the login's; and
 * `retryBegin`
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that cannot be used, or that
 * the login has already
 */
export function createSql<T extends Record<string, PostgresType> = {}>(
  login: LoginOrUrl,
  options: PostgresJsOptions<T> = {},
): Sql<
  Record<string, PostgresType> extends T ? {} : { [Name in keyof T]: ReturnType<T[Name]['parse']> }
> {
  const sql = postgres(postgresOptions(login, options))
  const own = sql as unknown as Sql
  const begin = safeBegin(own)
  const reserve = safeReserve(own, (state) => repeatReady(own, state))
  const retry = retryOf(own)
  Object.assign(sql, { reserve }, retry === undefined ? { begin } : retrying(own, begin, retry))
  return sql as never
}

/**
 * Returns the options for a `postgres()` call of your own, or of a library that takes them.
 *
 * `ssl` is `false` in them and there is no `password`: the connection that their `socket` makes is verified TLS already,
 * and logs in by itself.
 *
 * No option of Postgres.js reaches its `begin`: with `retryBegin` it is `sqlTransaction`, and `drizzleTransaction`, that take their
 * defaults for retries from these options. Use `createSql` where `sql.begin` itself is to be retried.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that cannot be used, or that
 * the login has already
 */
export function postgresOptions<T extends Record<string, PostgresType> = {}>(
  givenLogin: LoginOrUrl,
  givenOptions: PostgresJsOptions<T> = {},
): Options<T> {
  const login = loginOf(givenLogin)
  const tls = checkDriverOptions(login, givenOptions, OWNED)
  const { retryBegin, ...options } = givenOptions
  const retry = checkRetryBegin(retryBegin)
  // Postgres.js (3.4) has no word for any server, which is what the login goes to.
  const { target_session_attrs: _any, ...own } = options as Options<T> & SessionAttributes
  const connection = options.connection ?? {}
  checkDriverOptions(login, connection, CONNECTION_OWNED, 'connection.')
  const given = givenParameters(connection, undefined, 'connection.')
  const open = createStreamFactory(login, { tls, given, lossError, bootstrapQuery })
  const streams = new Set<LoginStream>()
  const socket = markWithLogin(() => {
    const stream = announceClosing(open())
    streams.add(stream)
    return stream.once('close', () => streams.delete(stream))
  }, login)
  Object.defineProperty(socket, STREAMS, { value: streams })
  if (retry !== undefined) Object.defineProperty(socket, RETRY, { value: retry })
  return {
    max_lifetime: maxLifetime(login),
    ...networkOptions(login),
    ...own,
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    // Given, because Postgres.js reads PGSSL and PGSSLNEGOTIATION where they are left out.
    ssl: false,
    ...NEGOTIATION,
    // A public option that its types leave out. It is called per physical connection and must not reject: that would
    // lose the slot for good. The stream never does; what fails is reported on it, as by any socket.
    socket,
    connection: { ...connection, [PADDING_PARAMETER]: PADDING },
  } as Options<T>
}

/** Postgres.js draws 30 to 60 minutes of its own where the option is left out. It calls a function for each slot, which its types leave out. */
function maxLifetime(login: Login): number | null {
  if (login.maxLifetimeSecs === undefined) return null
  return (() => jitteredLifetimeSecs(login)) as unknown as number
}

/**
 * Gives Postgres.js the ReadyForQuery of an idle connection once more. It does not say which stream is whose; both have the key of the
 * backend.
 */
function repeatReady(sql: Sql, { pid, secret }: BackendState): boolean {
  const { [STREAMS]: streams } = socketOf(sql) as { [STREAMS]: ReadonlySet<LoginStream> }
  const found = [...streams].filter(
    ({ backendKey }) => backendKey?.processId === pid && backendKey.secretKey === secret,
  )
  // Behind a proxy several sessions may have the same key.
  return found.length === 1 && found[0]!.repeatReady()
}

/** The open streams of an instance. */
const STREAMS: unique symbol = Symbol.for('pg-iam.open-streams') as never

/** How a transaction begins, and how it is retried. */
export interface SqlTransactionOptions extends RetryOptions {
  /** What stands behind BEGIN, as in `sql.begin('isolation level serializable', fn)`. */
  begin?: string
}

/** What Postgres.js makes of what the function of a transaction returns: the results of an array of queries. */
export type TransactionResult<T> = T extends readonly unknown[]
  ? { [Index in keyof T]: T[Index] extends Promise<infer Item> ? Item : T[Index] }
  : T

/**
 * Runs `fn` in a transaction of Postgres.js, and again as a whole when it met a conflict. What `fn` returns passes as it does through
 * `sql.begin`: an array of queries is waited for, everything else is given on unchanged.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost after COMMIT was written; then nothing is retried. A connection that was lost
 * before that is reported by the error of the server.
 */
export function sqlTransaction<T, Types extends Record<string, unknown> = {}>(
  sql: Sql<Types>,
  fn: (sql: TransactionSql<Types>) => Promise<T>,
  options?: SqlTransactionOptions,
): Promise<T>
export function sqlTransaction<T, Types extends Record<string, unknown> = {}>(
  sql: Sql<Types>,
  fn: (sql: TransactionSql<Types>) => T,
  options?: SqlTransactionOptions,
): Promise<TransactionResult<T>>
export async function sqlTransaction<Types extends Record<string, unknown> = {}>(
  sql: Sql<Types>,
  fn: (sql: TransactionSql<Types>) => unknown,
  options: SqlTransactionOptions = {},
): Promise<unknown> {
  if (typeof (sql as { savepoint?: unknown } | null)?.savepoint === 'function')
    throw nestedTransaction()
  checkClient(sql, 'sql', ['begin'], 'what createSql() or postgres() returns')
  const { retry, own } = splitRetryOptions(options)
  const { begin = '' } = checkOptions(own, { ...RETRY_CHECKS, begin: text })
  const client = sql as unknown as Sql
  return runRetried(client, safeBegin(client), begin, fn as unknown as Work, {
    ...retryOf(client),
    ...retry,
  })
}

function runRetried(
  sql: Sql,
  begin: Begin,
  modes: string,
  fn: Work,
  retry: RetryOptions,
): Promise<unknown> {
  return runTransaction<TransactionSql, unknown>({
    client: sql,
    login: loginOfFactory(socketOf(sql)),
    retry,
    fn: typeof fn === 'function' ? (transaction) => returned(() => fn(transaction)) : fn,
    attempt: (work, connected) =>
      begin(modes, (transaction) => {
        connected(connectionOf(transaction))
        return work(transaction)
      }),
  })
}

/** Postgres.js's `begin`, retried, and what of Postgres.js must not be: the function of its large objects cannot be run twice. */
function retrying(sql: Sql, plain: Begin, retry: RetryOptions): Pick<Sql, 'begin' | 'largeObject'> {
  const { largeObject } = sql
  const begin = (options: string | Work, fn?: Work): Promise<unknown> => {
    const [modes, work] = fn ? [options as string, fn] : ['', options as Work]
    return isInsideRetry() ? plain(modes, work) : runRetried(sql, plain, modes, work, retry)
  }
  return {
    begin: markSafe(begin as Begin, bareBegin(sql)),
    largeObject: (...given) => insideRetry(() => largeObject(...given)),
  }
}

function checkRetryBegin(value: unknown): RetryOptions | undefined {
  if (value === undefined || value === false) return undefined
  if (value === true) return {}
  if (!isPlainObject(value))
    throw invalidOption('retryBegin', 'true, false or an object with retry options', value)
  return retryOptions(value as RetryOptions, 'retryBegin')
}

/**
 * Postgres.js (3.4) keeps a FATAL error for the end of the query, which never comes: the query rejects with something else, and the
 * next one on that slot, on another connection, with the FATAL error.
 */
function lossError(error: FatalError): Error {
  const { PostgresError } = postgres as unknown as {
    PostgresError: new (fields: FatalError) => Error
  }
  return new PostgresError(error)
}

/** Postgres.js asks for the array types on each new connection, and lets nobody wait for the answer. */
const bootstrapQuery: BootstrapQuery = (request) =>
  request.includes('select b.oid, b.typarray') ? 'optional' : undefined

/**
 * Postgres.js (3.4) collects small writes for a moment. Where the connection dies in that moment it forgets to send what it
 * collected and goes on collecting, so that the slot never opens a connection again. What is longer than a kilobyte it sends
 * at once. An object, because its text need not be seen wherever the options are printed.
 */
const PADDING = { toString: () => ' '.repeat(1_024) } as unknown as string

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  hostname: 'host',
  port: 'port',
  user: 'user',
  username: 'user',
  database: 'database',
  db: 'database',
  password: 'password',
  pass: 'password',
  path: 'socket',
  socket: 'socket',
  ssl: 'tls',
  sslmode: 'tls',
  sslnegotiation: 'negotiation',
  target_session_attrs: 'session-attributes',
}

/** Postgres.js sends whatever is in `connection`, also where it has that from somewhere else. */
const CONNECTION_OWNED: Readonly<Record<string, OwnedByLogin>> = {
  user: 'user',
  database: 'database',
  password: 'password',
}

interface SessionAttributes {
  target_session_attrs?: unknown
}

/** How much longer than the login Postgres.js waits for a connection. */
const LATER_SECS = 5

/** An option of Postgres.js that its types leave out. */
const NEGOTIATION: object = { sslnegotiation: 'postgres' }

/** Postgres.js's own settings, or those of its environment, would cut short what the login allows, or set it again. */
function networkOptions(login: Login): object {
  const timeoutMs = internalsOf(login)?.connectTimeoutMs
  const { keepAlive } = login
  return {
    // Of the two limits that of the login says what was waited for.
    ...(timeoutMs === undefined ? {} : { connect_timeout: timeoutMs / 1_000 + LATER_SECS }),
    ...(keepAlive === undefined
      ? {}
      : // What it sets would replace what the socket was dialled with.
        { keep_alive: typeof keepAlive === 'number' ? keepAlive : null }),
  }
}
