/** Logins for Drizzle on pg. */
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { PgTransactionConfig } from 'drizzle-orm/pg-core'
import type { Pool, PoolConfig } from 'pg'
import { splitRetryOptions, type RetryOptions } from '../core/conflict/retry-options.js'
import { runTransaction } from '../core/conflict/run-transaction.js'
import { checkDriverOptions } from '../core/connection/driver-options.js'
import { loginOfFactory } from '../core/connection/stream-factory.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import { checkClient, invalidOption, isPlainObject } from '../core/options/check.js'
import { onLentConnection } from './drizzle/lent-connection.js'
import { createPool } from './pg.js'

/** What the type of a database is made of: the schema in Drizzle 0.44 and 0.45, the relations in 1.0. */
export type DrizzleSchema = SchemaOf<ReturnType<typeof drizzle>>

/** What it is made of where none is given. */
export type NoDrizzleSchema = SchemaOf<NodePgDatabase>

type SchemaOf<TDatabase> = TDatabase extends NodePgDatabase<infer TSchema> ? TSchema : never

/** Drizzle's own configuration for a pool that it is given, whatever its version has there. */
type OwnConfig =
  Parameters<typeof drizzle> extends infer TParameters
    ? TParameters extends [unknown, infer TConfig]
      ? TConfig
      : never
    : never

/** Where that has the schema, or the relations. */
type SchemaOption = Extract<keyof OwnConfig, 'schema' | 'relations'>

/** Drizzle's own configuration, with `connection` for the pool as in `drizzle({ connection })`. */
export type DrizzleClientConfig<TSchema extends DrizzleSchema> = Omit<OwnConfig, SchemaOption> & {
  [Name in SchemaOption]?: TSchema
} & { connection?: PoolConfig }

/** A Drizzle database on a pool. */
export type DrizzleDatabase<TSchema extends DrizzleSchema = NoDrizzleSchema> =
  NodePgDatabase<TSchema> & { $client: Pool }

/** What `drizzleTransaction` needs of a database: that of `drizzleClient`, and whatever is made of it, such as by `withReplicas()`. */
export interface DrizzleTransactions {
  transaction(work: never, config?: PgTransactionConfig): Promise<unknown>
  $client: Pool
}

/** The transaction that Drizzle gives to a function, such as `DrizzleTransaction<typeof db>`. */
export type DrizzleTransaction<TDatabase extends DrizzleTransactions = DrizzleDatabase> =
  TDatabase['transaction'] extends (
    work: (transaction: infer TTransaction) => Promise<never>,
    ...config: never
  ) => unknown
    ? TTransaction
    : never

/**
 * Returns a Drizzle database on a `pg.Pool` whose every physical connection logs in with a token of its own. The pool is
 * its `$client`; end that to close it.
 *
 * Exported from `'pg-iam/drizzle'`.
 *
 * Its `transaction` gives the connection back when BEGIN fails, rejects with what failed first, and refuses statements that come
 * after it; Drizzle's own leaks the connection, rejects with the ROLLBACK that failed of it, and runs them.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options of `connection` that the login has already
 */
export function drizzleClient<TSchema extends DrizzleSchema = NoDrizzleSchema>(
  given: LoginOrUrl,
  config: DrizzleClientConfig<TSchema> = {},
): DrizzleDatabase<TSchema> {
  const login = loginOf(given)
  checkDriverOptions(login, config, { client: 'socket' })
  const { connection = {}, ...own } = config
  const client = createPool(login, connection)
  const db = drizzle({ ...own, client }) as DrizzleDatabase<TSchema>
  const transaction = db.transaction.bind(db)
  // A property of its own, so that a copy by `{ ...db }`, which `withReplicas()` of 0.44 and 0.45 makes, has it, too.
  db.transaction = (work, options) =>
    onLentConnection(client, work, (lent) => transaction(lent, options))
  return db
}

/**
 * Runs `fn` in a transaction of Drizzle, and again as a whole when it met a conflict. On a database with read replicas it runs on
 * the primary.
 *
 * Exported from `'pg-iam/drizzle'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost after COMMIT was written; then nothing is retried.
 *
 * @param db a database of `drizzleClient`, or made of one, as `withReplicas()` does
 * @param options those of `db.transaction()`, and those of the retry
 */
export async function drizzleTransaction<TDatabase extends DrizzleTransactions, T>(
  db: TDatabase,
  fn: (transaction: DrizzleTransaction<TDatabase>) => Promise<T>,
  options: PgTransactionConfig & RetryOptions = {},
): Promise<T> {
  checkClient(db, 'db', ['transaction'], DATABASE)
  const { retry, own } = splitRetryOptions(options)
  // Drizzle writes what it is given behind BEGIN, so an empty object would be a syntax error there.
  const config = Object.keys(own).length === 0 ? undefined : own
  const isNested = 'rollback' in db
  const pool = isNested ? undefined : poolOf(db)
  return runTransaction({
    // Databases that are made of one another have the same pool.
    client: pool ?? db,
    login: loginOfFactory(pool?.options.stream),
    isNested,
    retry,
    fn,
    attempt: (work, connected) =>
      onLentConnection(
        pool!,
        work,
        (lent) => db.transaction(lent as never, config) as Promise<T>,
        connected,
      ),
  })
}

function poolOf(db: DrizzleTransactions): Pool {
  const { $client } = db as Partial<DrizzleTransactions>
  // A single client of pg has no options of a pool.
  if (isPlainObject($client?.options)) return $client
  throw invalidOption('db', DATABASE, db)
}

const DATABASE = 'a Drizzle database on a pool, such as drizzleClient() returns'
