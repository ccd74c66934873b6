/** Logins for Postgres.js. */
import postgres, { type Options, type PostgresType, type Sql, type TransactionSql } from 'postgres'
import { splitRetryOptions, type RetryOptions } from '../core/conflict/retry-options.js'
import { runTransaction } from '../core/conflict/run-transaction.js'
import { checkOptions, text } from '../core/options/check.js'
import { PADDING_PARAMETER } from '../core/connection/first-packet.js'
import type { FatalError } from '../core/connection/backend-tracker.js'
import { checkDriverOptions, type OwnedByLogin } from '../core/connection/driver-options.js'
import { createStreamFactory, loginOfFactory } from '../core/connection/stream-factory.js'
import { drawLifetimeSecs } from '../core/connection/lifetime.js'
import type { Login } from '../core/login.js'
import { safeBegin } from './postgres-js/safe-begin.js'

/**
 * Returns a Postgres.js instance whose every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * Its `begin` outlives the death of a connection: the bare one ends the process, or runs what is left of the transaction's
 * function on the next connection, statement by statement.
 *
 * @param options whatever `postgres()` takes, but for the address, the user, the password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function createSql<T extends Record<string, PostgresType> = {}>(
  login: Login,
  options: Options<T> = {},
): Sql<
  Record<string, PostgresType> extends T ? {} : { [Name in keyof T]: ReturnType<T[Name]['parse']> }
> {
  const sql = postgres(postgresOptions(login, options))
  Object.assign(sql, { begin: safeBegin(sql as unknown as Sql) })
  return sql as never
}

/**
 * Returns the options for a `postgres()` call of your own, or of a library that takes them.
 *
 * `ssl` is `false` in them and there is no `password`: the connection that their `socket` makes is verified TLS already,
 * and logs in by itself.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function postgresOptions<T extends Record<string, PostgresType> = {}>(
  login: Login,
  options: Options<T> = {},
): Options<T> {
  const tls = checkDriverOptions(login, options, OWNED)
  return {
    max_lifetime: maxLifetime(login),
    ...options,
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    // Said aloud, because Postgres.js reads PGSSL where it is left out.
    ssl: false,
    // A public option that its types leave out. It is called per physical connection and must not reject: that would
    // lose the slot for good. The stream never does; what fails is reported on it, as by any socket.
    socket: createStreamFactory(login, { tls, lossError, isBootstrapQuery: asksForTypes }),
    connection: { ...options.connection, [PADDING_PARAMETER]: PADDING },
  } as Options<T>
}

/** Postgres.js draws 30 to 60 minutes of its own where the option is left out. It calls a function for each slot, which its types leave out. */
function maxLifetime(login: Login): number | null {
  if (login.maxLifetimeSecs === undefined) return null
  return (() => drawLifetimeSecs(login)) as unknown as number
}

/** How a transaction begins, and how it is retried. */
export interface SqlTransactionOptions extends RetryOptions {
  /** What stands behind BEGIN, as in `sql.begin('isolation level serializable', fn)`. */
  begin?: string
}

/**
 * Runs `fn` in a transaction of Postgres.js, and again as a whole when it met a conflict.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost during COMMIT; then nothing is retried.
 */
export function sqlTransaction<T, Types extends Record<string, unknown> = {}>(
  sql: Sql<Types>,
  fn: (sql: TransactionSql<Types>) => Promise<T>,
  options: SqlTransactionOptions = {},
): Promise<T> {
  const { retry, own } = splitRetryOptions(options)
  const { begin = '' } = checkOptions(own, { begin: text })
  const safe = safeBegin(sql as unknown as Sql) as unknown as Begin<Types>
  return runTransaction({
    client: sql,
    login: loginOfFactory((sql.options as { socket?: unknown }).socket),
    retry,
    fn,
    attempt: (work) => safe(begin, work),
  })
}

type Begin<Types extends Record<string, unknown>> = <T>(
  begin: string,
  work: (sql: TransactionSql<Types>) => Promise<T>,
) => Promise<T>

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
function asksForTypes(request: Buffer): boolean {
  return request.includes('select b.oid, b.typarray')
}

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
}
