/** Logins for Drizzle on pg. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { PgTransactionConfig } from 'drizzle-orm/pg-core'
import type { Pool, PoolClient, PoolConfig } from 'pg'
import { checkDriverOptions } from '../core/connection/driver-options.js'
import { loginOfFactory } from '../core/connection/login-stream.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import { checkClient, invalidOption, isPlainObject } from '../core/options/check.js'
import { type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import { type DrizzleMigrateOptions, migrateFolder } from '../migrations/in-options.js'
import type { MigrationRun } from '../migrations/migrator.js'
import {
  attachLoss,
  scopeToTransaction,
  type TransactionConnection,
  type ScopedClient,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'
import { createPool } from './pg.js'

export type { DrizzleMigrateOptions } from '../migrations/in-options.js'

/** The schema type of a database: the schema in Drizzle 0.44 and 0.45, the relations in 1.0. */
export type DrizzleSchema = SchemaOf<ReturnType<typeof drizzle>>

/** The schema type of a database without a schema. */
export type NoDrizzleSchema = SchemaOf<NodePgDatabase>

type SchemaOf<TDatabase> = TDatabase extends NodePgDatabase<infer TSchema> ? TSchema : never

/** Drizzle's configuration for a given pool, in the installed version. */
type OwnConfig =
  Parameters<typeof drizzle> extends infer TParameters
    ? TParameters extends [unknown, infer TConfig]
      ? TConfig
      : never
    : never

/** The option with the schema or the relations. */
type SchemaOption = Extract<keyof OwnConfig, 'schema' | 'relations'>

/** Drizzle's configuration, with `connection` for the pool as in `drizzle({ connection })`. */
export type DrizzleClientConfig<TSchema extends DrizzleSchema> = Omit<OwnConfig, SchemaOption> & {
  [Name in SchemaOption]?: TSchema
} & { connection?: PoolConfig }

/** A Drizzle database on a pool. */
export type DrizzleDatabase<TSchema extends DrizzleSchema = NoDrizzleSchema> =
  NodePgDatabase<TSchema> & { $client: Pool }

/**
 * The part of a database that `drizzleTransaction` uses. Databases derived from one of `drizzleClient`, as by `withReplicas()`, have it
 * too.
 */
export interface DrizzleTransactions {
  transaction(work: never, config?: PgTransactionConfig): Promise<unknown>
  $client: Pool
}

/** The transaction that Drizzle passes to a function, such as `DrizzleTransaction<typeof db>`. */
export type DrizzleTransaction<TDatabase extends DrizzleTransactions = DrizzleDatabase> =
  TDatabase['transaction'] extends (
    work: (transaction: infer TTransaction) => Promise<never>,
    ...config: never
  ) => unknown
    ? TTransaction
    : never

/**
 * Returns a Drizzle database on a `pg.Pool`. Each physical connection logs in with its own token. The pool is its `$client`; end it to
 * close the database.
 *
 * Exported from `'pg-iam/drizzle'`.
 *
 * Its `transaction` releases the connection if BEGIN fails, rejects with the first error, and rejects statements after the transaction.
 * Drizzle's own leaks the connection, rejects with the error of the ROLLBACK that follows, and runs late statements.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options of `connection` that the login determines
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
  // An own property, so that it is copied by `{ ...db }`, as `withReplicas()` of 0.44 and 0.45 does.
  db.transaction = (work, options) =>
    onScopedConnection(client, work, (scopedWork) => transaction(scopedWork, options))
  return db
}

/**
 * Runs `fn` in a Drizzle transaction, and retries it as a whole after a conflict. With read replicas it runs on the primary.
 *
 * Exported from `'pg-iam/drizzle'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then.
 *
 * @param db a database of `drizzleClient`, or one derived from it, as by `withReplicas()`
 * @param options those of `db.transaction()`, and the retry options
 */
export async function drizzleTransaction<TDatabase extends DrizzleTransactions, T>(
  db: TDatabase,
  fn: (transaction: DrizzleTransaction<TDatabase>) => Promise<T>,
  options: PgTransactionConfig & RetryOptions = {},
): Promise<T> {
  checkClient(db, 'db', ['transaction'], DATABASE)
  const { retry, own } = splitRetryOptions(options)
  // Drizzle appends the options to BEGIN. An empty object would result in a syntax error.
  const config = Object.keys(own).length === 0 ? undefined : own
  const isNested = 'rollback' in db
  const pool = isNested ? undefined : poolOf(db)
  return runTransaction({
    // Databases derived from each other share a pool.
    client: pool ?? db,
    login: loginOfFactory(pool?.options.stream),
    isNested,
    retry,
    fn,
    attempt: (work, connected) =>
      onScopedConnection(
        pool!,
        work,
        (scopedWork) => db.transaction(scopedWork as never, config) as Promise<T>,
        connected,
      ),
  })
}

/**
 * Runs the migrations of drizzle-kit that have not run. On Aurora DSQL statements are rewritten as by `toDsqlStatements`, each runs alone,
 * and a migration that broke half-way goes on where it stopped. Drizzle's own `migrate` runs all of them in one transaction.
 *
 * Exported from `'pg-iam/drizzle'`.
 *
 * Rejects as `up()` of `createMigrator` of `'pg-iam/migrations'` does. Its ledger is `pg_iam_migrations`, not the table of Drizzle's
 * `migrate`: use one of them for a database.
 *
 * @param db a database of `drizzleClient`
 */
export async function drizzleMigrate(
  db: Pick<DrizzleTransactions, '$client'>,
  options: DrizzleMigrateOptions,
): Promise<MigrationRun[]> {
  checkClient(db?.$client, 'db.$client', ['connect', 'query'], 'the pool of drizzleClient()')
  return migrateFolder(options, { pool: db.$client })
}

function poolOf(db: DrizzleTransactions): Pool {
  const { $client } = db as Partial<DrizzleTransactions>
  // A single client of pg has no pool options.
  if (isPlainObject($client?.options)) return $client
  throw invalidOption('db', DATABASE, db)
}

const DATABASE = 'a Drizzle database on a pool, such as drizzleClient() returns'

// The connection of a Drizzle transaction, limited to that transaction.

type Connected = (connection: TransactionConnection | undefined) => void

/** A transaction for which Drizzle is about to check out a connection, or has done so. */
interface Checkout {
  readonly pool: Pool
  readonly connected: Connected
  isCheckedOut: boolean
  client?: PoolClient
  connection?: TransactionConnection | undefined
  scoped?: ScopedClient<PoolClient>
}

const checkouts = new AsyncLocalStorage<Checkout>()

/**
 * Runs `transaction`, a call of Drizzle's own, on a connection of `pool` that is limited to that transaction. Drizzle (0.44, 0.45) keeps
 * the connection if BEGIN fails, and releases it even if ROLLBACK failed. Rejects with the error of `work`, even if the ROLLBACK fails.
 */
async function onScopedConnection<Transaction, T>(
  pool: Pool,
  work: (transaction: Transaction) => Promise<T>,
  transaction: (work: (transaction: Transaction) => Promise<T>) => Promise<T>,
  connected: Connected = () => {},
): Promise<T> {
  const outer = checkouts.getStore()
  // `drizzleTransaction` has already set it up, and calls the `transaction` of `drizzleClient`.
  if (outer !== undefined && outer.pool === pool && !outer.isCheckedOut) return transaction(work)
  scopeCheckouts(pool)
  const checkout: Checkout = { pool, connected, isCheckedOut: false }
  let failure: { error: unknown } | undefined
  try {
    return await checkouts.run(checkout, () =>
      transaction(async (own) => {
        try {
          return await work(own)
        } catch (error) {
          failure = { error }
          throw error
        } finally {
          checkout.scoped?.close()
        }
      }),
    )
  } catch (error) {
    const loss = checkout.connection?.loss
    if (failure !== undefined) throw attachLoss(loss, failure.error)
    // The error of a ROLLBACK after a failed COMMIT is less useful than that of COMMIT.
    throw attachLoss(loss, loss === undefined ? error : (checkout.scoped?.endFailure ?? error))
  } finally {
    checkout.connection?.release()
    checkout.scoped?.end()
    checkout.client?.release(checkout.scoped?.isClean !== true)
  }
}

/** Patches `connect` of a pool, so that Drizzle's checkout for a transaction returns a scoped client. Other calls are unchanged. */
function scopeCheckouts(pool: Pool): void {
  if (patchedPools.has(pool)) return
  patchedPools.add(pool)
  const connect = pool.connect.bind(pool) as (callback?: unknown) => Promise<PoolClient>
  const scopedConnect = (callback?: unknown): Promise<PoolClient> => {
    const checkout = checkouts.getStore()
    if (
      callback !== undefined ||
      checkout === undefined ||
      checkout.pool !== pool ||
      checkout.isCheckedOut
    )
      return connect(callback)
    checkout.isCheckedOut = true
    return connect().then((client) => {
      checkout.client = client
      checkout.connection = watchPgClient(client)
      checkout.connected(checkout.connection)
      checkout.scoped = scopeToTransaction(client)
      return checkout.scoped.client
    })
  }
  Object.defineProperty(pool, 'connect', {
    value: scopedConnect,
    configurable: true,
    writable: true,
  })
}

const patchedPools = new WeakSet<Pool>()
