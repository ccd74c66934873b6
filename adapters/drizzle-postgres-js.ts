/** Logins for Drizzle on Postgres.js. */
import type { DrizzleConfig } from 'drizzle-orm'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { PgTransactionConfig } from 'drizzle-orm/pg-core'
import type { Options, PostgresType, Sql } from 'postgres'
import { splitRetryOptions, type RetryOptions } from '../core/conflict/retry-options.js'
import { runTransaction } from '../core/conflict/run-transaction.js'
import { checkDriverOptions } from '../core/connection/driver-options.js'
import { loginOfFactory } from '../core/connection/stream-factory.js'
import type { Login } from '../core/login.js'
import { createSql } from './postgres-js.js'

/** Drizzle's own configuration, with `connection` for Postgres.js as in `drizzle({ connection })`. */
export type DrizzleClientConfig<TSchema extends Record<string, unknown>> =
  DrizzleConfig<TSchema> & {
    connection?: Options<Record<string, PostgresType>>
  }

/**
 * Returns a Drizzle database on Postgres.js whose every physical connection logs in with a token of its own. Postgres.js is
 * its `$client`; end that to close it. Do not use that for queries of your own: Drizzle changes how it reads dates.
 *
 * Exported from `'pg-iam/drizzle-postgres-js'`.
 *
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options of `connection` that the login has already
 */
export function drizzleClient<TSchema extends Record<string, unknown> = Record<string, never>>(
  login: Login,
  config: DrizzleClientConfig<TSchema> = {},
): PostgresJsDatabase<TSchema> & { $client: Sql } {
  checkDriverOptions(login, config, { client: 'socket' })
  const { connection = {}, ...drizzleConfig } = config
  return drizzle({
    ...(drizzleConfig as DrizzleConfig<TSchema>),
    client: createSql(login, connection) as Sql,
  })
}

/** The transaction that Drizzle gives to a function. */
export type DrizzleTransaction<TSchema extends Record<string, unknown>> = Parameters<
  Parameters<PostgresJsDatabase<TSchema>['transaction']>[0]
>[0]

/**
 * Runs `fn` in a transaction of Drizzle, and again as a whole when it met a conflict.
 *
 * Exported from `'pg-iam/drizzle-postgres-js'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost during COMMIT; then nothing is retried.
 *
 * @param options those of `db.transaction()`, and those of the retry
 */
export function drizzleTransaction<
  T,
  TSchema extends Record<string, unknown> = Record<string, never>,
>(
  db: PostgresJsDatabase<TSchema> & { $client: Sql },
  fn: (transaction: DrizzleTransaction<TSchema>) => Promise<T>,
  options: PgTransactionConfig & RetryOptions = {},
): Promise<T> {
  const { retry, own } = splitRetryOptions(options)
  return runTransaction({
    client: db,
    login: loginOfFactory((db.$client.options as { socket?: unknown }).socket),
    retry,
    fn,
    attempt: (work) => db.transaction(work, Object.keys(own).length === 0 ? undefined : own),
  })
}
