/** Postgres.js for a login. Loads no Postgres.js, so that it suits whichever copy an application has. */
import type { Options, PostgresType, Sql, TransactionSql } from 'postgres'
import {
  insideRetry,
  isInsideRetry,
  retryOptions,
  type RetryOptions,
} from '../../core/transactions/retry.js'
import { runTransaction } from '../../core/transactions/run-transaction.js'
import { invalidOption, isPlainObject } from '../../core/options/check.js'
import { PADDING_PARAMETER } from '../../core/connection/open-connection.js'
import type { BootstrapQuery, FatalError } from '../../core/connection/backend-tracker.js'
import { checkDriverOptions, type OwnedByLogin } from '../../core/connection/driver-options.js'
import {
  createStreamFactory,
  jitteredLifetimeSecs,
  loginOfFactory,
  type LoginStream,
  type LoginStreamOptions,
  markWithLogin,
} from '../../core/connection/login-stream.js'
import { internalsOf, type Login } from '../../core/login.js'
import { loginOf, type LoginOrUrl } from '../../core/login-from.js'
import { givenParameters } from '../../core/options/startup-parameters.js'
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
} from './transactions.js'

/** The options of `postgres()`, and those for retries. */
export type PostgresJsOptions<T extends Record<string, PostgresType> = {}> = Options<T> & {
  /**
   * Whether `sql.begin` retries a transaction as a whole after a conflict, as `sqlTransaction` does, or its retry options. Savepoints, and
   * transactions inside another one that is retried, are not retried separately. Default `false`.
   */
  retryBegin?: boolean | RetryOptions
}

/** What a copy of Postgres.js exports. */
export type PostgresFunction = (options: Options<Record<string, PostgresType>>) => object

/** What differs for connections that are not TCP. */
export interface ConnectionSettings extends Pick<LoginStreamOptions, 'dial' | 'through'> {
  /** Called when a connection from `reserve()` is lost before its release. */
  onReservedLoss?: () => void
}

/** An instance of this copy of Postgres.js, whose `begin` and `reserve` are safe. */
export function createSqlOf<T extends Record<string, PostgresType>>(
  postgres: PostgresFunction,
  login: LoginOrUrl,
  options: PostgresJsOptions<T>,
  { onReservedLoss, ...ofStreams }: ConnectionSettings = {},
): Sql {
  const sql = postgres(optionsOf(postgres, login, options, ofStreams))
  const own = sql as unknown as Sql
  const begin = safeBegin(own)
  const reserve = safeReserve(own, (state) => repeatReady(own, state), onReservedLoss)
  const retry = retryOf(own)
  Object.assign(sql, { reserve }, retry === undefined ? { begin } : retrying(own, begin, retry))
  return own
}

/** The options for this copy of Postgres.js. */
export function optionsOf<T extends Record<string, PostgresType>>(
  postgres: PostgresFunction,
  givenLogin: LoginOrUrl,
  givenOptions: PostgresJsOptions<T>,
  ofStreams: Pick<LoginStreamOptions, 'dial' | 'through'> = {},
): Options<T> {
  const login = loginOf(givenLogin)
  const tls = checkDriverOptions(login, givenOptions, OWNED)
  const { retryBegin, ...options } = givenOptions
  const retry = checkRetryBegin(retryBegin)
  // Postgres.js (3.4) has no value for "any server", which is the only one that the check accepts.
  const { target_session_attrs: _any, ...own } = options as Options<T> & SessionAttributes
  const connection = options.connection ?? {}
  checkDriverOptions(login, connection, CONNECTION_OWNED, 'connection.')
  const given = givenParameters(connection, undefined, 'connection.')
  const lossError = lossErrorOf(postgres)
  const open = createStreamFactory(login, { tls, given, lossError, bootstrapQuery, ...ofStreams })
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
    // Set explicitly: Postgres.js would otherwise read PGSSL and PGSSLNEGOTIATION.
    ssl: false,
    ...NEGOTIATION,
    // A public option that its types lack. It is called per physical connection and must not reject, since that would lose the slot
    // permanently. The stream never rejects; it reports errors as events, like any socket.
    socket,
    connection: { ...connection, [PADDING_PARAMETER]: PADDING },
  } as Options<T>
}

/** Without the option Postgres.js uses a random 30 to 60 minutes. It calls a function for each slot, which its types lack. */
function maxLifetime(login: Login): number | null {
  if (login.maxLifetimeSecs === undefined) return null
  return (() => jitteredLifetimeSecs(login)) as unknown as number
}

/**
 * Sends Postgres.js the ReadyForQuery of an idle connection once more. The stream is found by the backend key, since Postgres.js does not
 * expose which stream belongs to a connection.
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

/** Runs a transaction with retries. */
export function runRetried(
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

/** Postgres.js's `begin` with retries. The function of its large objects cannot be run twice, so it is excluded. */
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
 * Postgres.js (3.4) keeps a FATAL error until the end of the query, which never comes. The query rejects with another error, and the next
 * query of that slot, on another connection, with the FATAL error.
 */
function lossErrorOf(postgres: PostgresFunction): (error: FatalError) => Error {
  return (error) => {
    const { PostgresError } = postgres as unknown as {
      PostgresError: new (fields: FatalError) => Error
    }
    return new PostgresError(error)
  }
}

/** Postgres.js queries the array types on each new connection, and does not handle a failure of that query. */
const bootstrapQuery: BootstrapQuery = (request) =>
  request.includes('select b.oid, b.typarray') ? 'optional' : undefined

/**
 * Postgres.js (3.4) collects small writes for a moment. If the connection is lost in that moment, it never sends what it collected and
 * keeps collecting, so that the slot never opens a connection again. Writes of more than a kilobyte are sent immediately. An object, so
 * that the text is not printed with the options.
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

/** Postgres.js sends everything in `connection`, even parameters that it has from other options. */
const CONNECTION_OWNED: Readonly<Record<string, OwnedByLogin>> = {
  user: 'user',
  database: 'database',
  password: 'password',
}

interface SessionAttributes {
  target_session_attrs?: unknown
}

/** How much longer Postgres.js waits for a connection than the login. */
const LATER_SECS = 5

/** An option of Postgres.js that its types lack. */
const NEGOTIATION: object = { sslnegotiation: 'postgres' }

/** Overrides Postgres.js's own settings, or those of its environment, which would conflict with the login's limits. */
function networkOptions(login: Login): object {
  const timeoutMs = internalsOf(login)?.connectTimeoutMs
  const { keepAlive } = login
  return {
    // The login's limit is shorter, since its error is more specific.
    ...(timeoutMs === undefined ? {} : { connect_timeout: timeoutMs / 1_000 + LATER_SECS }),
    ...(keepAlive === undefined
      ? {}
      : // Postgres.js's value would replace the one that the socket was dialled with.
        { keep_alive: typeof keepAlive === 'number' ? keepAlive : null }),
  }
}
