/** Logins for Postgres.js. */
import postgres, { type Options, type PostgresType, type Sql, type TransactionSql } from 'postgres'
import { RETRY_CHECKS, type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { nestedTransaction } from '../core/transactions/run-transaction.js'
import { checkClient, checkOptions, text } from '../core/options/check.js'
import type { LoginOrUrl } from '../core/login-from.js'
import {
  createSqlOf,
  optionsOf,
  type PostgresJsOptions,
  runRetried,
} from './postgres-js/instance.js'
import { retryOf, safeBegin, type Work } from './postgres-js/transactions.js'

export type { PostgresJsOptions } from './postgres-js/instance.js'

/**
 * Returns a Postgres.js instance. Each physical connection logs in with its own token.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * Its `begin` is safe when a connection is lost: the original ends the process, or runs the remaining statements of the transaction's
 * function on the next connection, one by one.
 *
 * With `retryBegin` it retries a transaction after a conflict, and rejects as `sqlTransaction` does.
 *
 * Its `reserve` is safe when a connection is lost or reaches its maximum age: a connection past that age is replaced after its release.
 * After `release()` statements are rejected with `ERR_CLOSED`, and an open transaction is rolled back.
 *
 * @param login a login, or a URL for {@link loginFromUrl}
 * @param options the options of `postgres()`, except address, user, password and TLS, which the login determines; and `retryBegin`
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for invalid options, or options that the login
 * determines
 */
export function createSql<T extends Record<string, PostgresType> = {}>(
  login: LoginOrUrl,
  options: PostgresJsOptions<T> = {},
): Sql<
  Record<string, PostgresType> extends T ? {} : { [Name in keyof T]: ReturnType<T[Name]['parse']> }
> {
  return createSqlOf(postgres, login, options) as never
}

/**
 * Returns the options for your own `postgres()` call, or for a library that takes them.
 *
 * They have `ssl: false` and no `password`: their `socket` opens connections that already use verified TLS, and logs in.
 *
 * Postgres.js has no option to change its `begin`: `retryBegin` only sets the retry defaults of `sqlTransaction` and `drizzleTransaction`
 * here. Use `createSql` if `sql.begin` itself should be retried.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for invalid options, or options that the login
 * determines
 */
export function postgresOptions<T extends Record<string, PostgresType> = {}>(
  givenLogin: LoginOrUrl,
  givenOptions: PostgresJsOptions<T> = {},
): Options<T> {
  return optionsOf(postgres, givenLogin, givenOptions)
}

/** Options for BEGIN and for retries. */
export interface SqlTransactionOptions extends RetryOptions {
  /** Appended to BEGIN, as in `sql.begin('isolation level serializable', fn)`. */
  begin?: string
}

/** The result of a transaction's function as Postgres.js returns it: an array of queries becomes their results. */
export type TransactionResult<T> = T extends readonly unknown[]
  ? { [Index in keyof T]: T[Index] extends Promise<infer Item> ? Item : T[Index] }
  : T

/**
 * Runs `fn` in a Postgres.js transaction, and retries it as a whole after a conflict. The result of `fn` is handled as in `sql.begin`: an
 * array of queries is awaited, anything else is returned unchanged.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then. A connection lost before that is
 * reported by the server's error.
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
