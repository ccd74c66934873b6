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
import {
  attachLoss,
  scopeToTransaction,
  type TransactionConnection,
  type ScopedClient,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'
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

// The connection of a transaction of Drizzle, which is lent to it and to nothing after it.

type Connected = (connection: TransactionConnection | undefined) => void

/** A transaction that Drizzle is about to take a connection for, or has taken one for. */
interface Loan {
  readonly pool: Pool
  readonly connected: Connected
  isTaken: boolean
  client?: PoolClient
  connection?: TransactionConnection | undefined
  lease?: ScopedClient<PoolClient>
}

const loans = new AsyncLocalStorage<Loan>()

/**
 * Runs a transaction by `transaction`, a call of Drizzle's own, on a connection of `pool` that is lent to it. Drizzle (0.44, 0.45)
 * keeps the connection where BEGIN fails, and gives one back on which ROLLBACK failed. Rejects with what `work` failed with, whatever
 * became of the ROLLBACK after it.
 */
async function onLentConnection<Transaction, T>(
  pool: Pool,
  work: (transaction: Transaction) => Promise<T>,
  transaction: (work: (transaction: Transaction) => Promise<T>) => Promise<T>,
  connected: Connected = () => {},
): Promise<T> {
  const outer = loans.getStore()
  // `drizzleTransaction` has prepared it, and calls the `transaction` of `drizzleClient`.
  if (outer !== undefined && outer.pool === pool && !outer.isTaken) return transaction(work)
  lendByPool(pool)
  const loan: Loan = { pool, connected, isTaken: false }
  let failure: { error: unknown } | undefined
  try {
    return await loans.run(loan, () =>
      transaction(async (own) => {
        try {
          return await work(own)
        } catch (error) {
          failure = { error }
          throw error
        } finally {
          loan.lease?.close()
        }
      }),
    )
  } catch (error) {
    const loss = loan.connection?.loss
    if (failure !== undefined) throw attachLoss(loss, failure.error)
    // A ROLLBACK that fails after a COMMIT that failed says less than that.
    throw attachLoss(loss, loss === undefined ? error : (loan.lease?.endFailure ?? error))
  } finally {
    loan.connection?.release()
    loan.lease?.end()
    loan.client?.release(loan.lease?.isClean !== true)
  }
}

/** Has `connect` of a pool lend the connection that Drizzle takes for a transaction; all else is as ever. */
function lendByPool(pool: Pool): void {
  if (lending.has(pool)) return
  lending.add(pool)
  const connect = pool.connect.bind(pool) as (callback?: unknown) => Promise<PoolClient>
  const lend = (callback?: unknown): Promise<PoolClient> => {
    const loan = loans.getStore()
    if (callback !== undefined || loan === undefined || loan.pool !== pool || loan.isTaken)
      return connect(callback)
    loan.isTaken = true
    return connect().then((client) => {
      loan.client = client
      loan.connection = watchPgClient(client)
      loan.connected(loan.connection)
      loan.lease = scopeToTransaction(client)
      return loan.lease.client
    })
  }
  Object.defineProperty(pool, 'connect', { value: lend, configurable: true, writable: true })
}

const lending = new WeakSet<Pool>()
