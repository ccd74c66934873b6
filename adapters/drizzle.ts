/** Logins for Drizzle on pg. */
import type { DrizzleConfig } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { PgTransactionConfig } from 'drizzle-orm/pg-core'
import type { Pool, PoolConfig } from 'pg'
import { splitRetryOptions, type RetryOptions } from '../core/conflict/retry-options.js'
import { runTransaction } from '../core/conflict/run-transaction.js'
import { checkDriverOptions } from '../core/connection/driver-options.js'
import { loginOfFactory } from '../core/connection/stream-factory.js'
import type { Login } from '../core/login.js'
import { runOnPool } from './drizzle/run-on-pool.js'
import { createPool } from './pg.js'

/** Drizzle's own configuration, with `connection` for the pool as in `drizzle({ connection })`. */
export type DrizzleClientConfig<TSchema extends Record<string, unknown>> =
  DrizzleConfig<TSchema> & { connection?: PoolConfig }

/** A Drizzle database on a pool. */
export type DrizzleDatabase<TSchema extends Record<string, unknown>> = NodePgDatabase<TSchema> & {
  $client: Pool
}

/** The transaction that Drizzle gives to a function. */
export type DrizzleTransaction<TSchema extends Record<string, unknown>> = Parameters<
  Parameters<NodePgDatabase<TSchema>['transaction']>[0]
>[0]

/**
 * Returns a Drizzle database on a `pg.Pool` whose every physical connection logs in with a token of its own. The pool is
 * its `$client`; end that to close it.
 *
 * Exported from `'pg-iam/drizzle'`.
 *
 * Its `transaction` gives the connection back when BEGIN fails, rejects with what failed first, and refuses statements that come
 * after it; Drizzle's own leaks the connection, rejects with the ROLLBACK that failed of it, and runs them.
 *
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options of `connection` that the login has already
 */
export function drizzleClient<TSchema extends Record<string, unknown> = Record<string, never>>(
  login: Login,
  config: DrizzleClientConfig<TSchema> = {},
): DrizzleDatabase<TSchema> {
  checkDriverOptions(login, config, { client: 'socket' })
  const { connection = {}, ...drizzleConfig } = config
  const db = drizzle({
    ...(drizzleConfig as DrizzleConfig<TSchema>),
    client: createPool(login, connection),
  })
  db.transaction = (work, options) => runOnPool(db, work, options)
  return db
}

/**
 * Runs `fn` in a transaction of Drizzle, and again as a whole when it met a conflict.
 *
 * Exported from `'pg-iam/drizzle'`.
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
  db: DrizzleDatabase<TSchema>,
  fn: (transaction: DrizzleTransaction<TSchema>) => Promise<T>,
  options: PgTransactionConfig & RetryOptions = {},
): Promise<T> {
  const { retry, own } = splitRetryOptions(options)
  // Drizzle writes what it is given behind BEGIN, so an empty object would be a syntax error there.
  const config = Object.keys(own).length === 0 ? undefined : own
  return runTransaction({
    client: db,
    login: loginOfFactory(db.$client.options.stream),
    retry,
    fn,
    attempt: (work) => runOnPool(db, work, config),
  })
}
