/** Logins for Drizzle on pg. */
import type { DrizzleConfig } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { PgTransactionConfig } from 'drizzle-orm/pg-core'
import type { Pool, PoolClient, PoolConfig } from 'pg'
import { sqlStateOf } from '../core/conflict/is-occ-conflict.js'
import { splitRetryOptions, type RetryOptions } from '../core/conflict/retry-options.js'
import { runTransaction } from '../core/conflict/run-transaction.js'
import { lendToTransaction } from '../core/conflict/transaction-lease.js'
import { checkDriverOptions } from '../core/connection/driver-options.js'
import { loginOfFactory } from '../core/connection/stream-factory.js'
import type { Login } from '../core/login.js'
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
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options of `connection` that the login has already
 */
export function drizzleClient<TSchema extends Record<string, unknown> = Record<string, never>>(
  login: Login,
  config: DrizzleClientConfig<TSchema> = {},
): DrizzleDatabase<TSchema> {
  checkDriverOptions(login, config, { client: 'socket' })
  const { connection = {}, ...drizzleConfig } = config
  return drizzle({
    ...(drizzleConfig as DrizzleConfig<TSchema>),
    client: createPool(login, connection),
  })
}

/**
 * Runs `fn` in a transaction of Drizzle, and again as a whole when it met a conflict. Unlike `db.transaction()` it gives the
 * connection back when BEGIN fails, and reports what failed first rather than the ROLLBACK that failed of it.
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

async function runOnPool<T, TSchema extends Record<string, unknown>>(
  db: DrizzleDatabase<TSchema>,
  work: (transaction: DrizzleTransaction<TSchema>, connection?: unknown) => Promise<T>,
  config: PgTransactionConfig | undefined,
): Promise<T> {
  const client = await db.$client.connect()
  const lease = lendToTransaction(client)
  let broken: Error | undefined
  try {
    return await databaseOn(lease.client, db).transaction(
      (transaction) => work(transaction, client),
      config,
    )
  } catch (error) {
    // Without an answer of the server nobody knows what state the connection is in.
    if (sqlStateOf(error) === undefined) broken = error as Error
    throw error
  } finally {
    lease.end()
    client.release(broken)
  }
}

/** The same database on one connection, with the dialect, the schema and the logger of `db`. */
function databaseOn<TSchema extends Record<string, unknown>>(
  client: PoolClient,
  db: DrizzleDatabase<TSchema>,
): NodePgDatabase<TSchema> {
  const { dialect, session } = db as unknown as DrizzleInternals
  const Session = session.constructor as new (...args: unknown[]) => unknown
  const Database = db.constructor as new (...args: unknown[]) => NodePgDatabase<TSchema>
  return new Database(
    dialect,
    new Session(client, dialect, session.schema, session.options),
    session.schema,
  )
}

/** Drizzle marks these as internal; it offers no other way to move a database onto one connection. */
interface DrizzleInternals {
  dialect: unknown
  session: { schema: unknown; options: unknown }
}
