/** Logins for Drizzle on Postgres.js. */
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { PgTransactionConfig } from 'drizzle-orm/pg-core'
import type { PostgresType, Sql } from 'postgres'
import { type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import { type DrizzleMigrateOptions, migrateFolder } from '../migrations/in-options.js'
import type { MigrationRun, PooledConnection } from '../migrations/migrator.js'
import { checkDriverOptions } from '../core/connection/driver-options.js'
import { loginOfFactory } from '../core/connection/login-stream.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import { checkClient, invalidOption } from '../core/options/check.js'
import { createSql, type PostgresJsOptions } from './postgres-js.js'
import { connectionOf, retryOf } from './postgres-js/transactions.js'

export type { DrizzleMigrateOptions } from '../migrations/in-options.js'

/** The schema type of a database: the schema in Drizzle 0.44 and 0.45, the relations in 1.0. */
export type DrizzleSchema = SchemaOf<ReturnType<typeof drizzle>>

/** The schema type of a database without a schema. */
export type NoDrizzleSchema = SchemaOf<PostgresJsDatabase>

type SchemaOf<TDatabase> = TDatabase extends PostgresJsDatabase<infer TSchema> ? TSchema : never

/** Drizzle's configuration for a given client, in the installed version. */
type OwnConfig =
  Parameters<typeof drizzle> extends infer TParameters
    ? TParameters extends [unknown, infer TConfig]
      ? TConfig
      : never
    : never

/** The option with the schema or the relations. */
type SchemaOption = Extract<keyof OwnConfig, 'schema' | 'relations'>

/**
 * Drizzle's configuration, with `connection` for Postgres.js as in `drizzle({ connection })`. With `retryBegin` in `connection`, Drizzle's
 * `db.transaction` is also retried.
 */
export type DrizzleClientConfig<TSchema extends DrizzleSchema> = Omit<OwnConfig, SchemaOption> & {
  [Name in SchemaOption]?: TSchema
} & { connection?: PostgresJsOptions<Record<string, PostgresType>> }

/** A Drizzle database on Postgres.js. */
export type DrizzleDatabase<TSchema extends DrizzleSchema = NoDrizzleSchema> =
  PostgresJsDatabase<TSchema> & { $client: Sql }

/**
 * The part of a database that `drizzleTransaction` uses. Databases derived from one of `drizzleClient`, as by `withReplicas()`, have it
 * too.
 */
export interface DrizzleTransactions {
  transaction(work: never, config?: PgTransactionConfig): Promise<unknown>
  $client: Sql
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
 * Returns a Drizzle database on Postgres.js. Each physical connection logs in with its own token. Postgres.js is its `$client`; end it to
 * close the database. Do not use it for other queries: Drizzle changes its parsing of dates.
 *
 * Exported from `'pg-iam/drizzle-postgres-js'`.
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
  const client = createSql(login, connection) as Sql
  const db = drizzle({ ...own, client }) as DrizzleDatabase<TSchema>
  const transaction = db.transaction.bind(db)
  // An own property, so that it is copied by `{ ...db }`.
  db.transaction = (fn, settings) => {
    const modes = login.provider === 'aurora-dsql' ? modesOf(settings) : ''
    return modes === ''
      ? transaction(fn, settings)
      : drizzle({ ...own, client: beginningWith(client, modes) }).transaction(fn)
  }
  return db
}

/** The settings of a transaction, as part of BEGIN. Drizzle (0.45) sends them with SET TRANSACTION, which Aurora DSQL rejects. */
function modesOf({ isolationLevel, accessMode, deferrable }: PgTransactionConfig = {}): string {
  return [
    ...(isolationLevel === undefined ? [] : [`isolation level ${isolationLevel}`]),
    ...(accessMode === undefined ? [] : [accessMode]),
    ...(deferrable === undefined ? [] : [deferrable ? 'deferrable' : 'not deferrable']),
  ].join(' ')
}

function beginningWith(client: Sql, modes: string): Sql {
  return new Proxy(client, {
    get: (target, name) =>
      name === 'begin'
        ? (fn: never) => target.begin(modes, fn)
        : (Reflect.get(target, name) as unknown),
  })
}

/**
 * Runs `fn` in a Drizzle transaction, and retries it as a whole after a conflict. With read replicas it runs on the primary.
 *
 * Exported from `'pg-iam/drizzle-postgres-js'`.
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
  const config = Object.keys(own).length === 0 ? undefined : own
  const isNested = 'rollback' in db
  const client = isNested ? undefined : clientOf(db)
  return runTransaction({
    // Databases derived from each other share a client.
    client: client ?? db,
    login: loginOfFactory((client?.options as { socket?: unknown } | undefined)?.socket),
    isNested,
    retry: { ...(client === undefined ? {} : retryOf(client)), ...retry },
    fn,
    attempt: (work, connected) => {
      const run = (transaction: DrizzleTransaction<TDatabase>): Promise<T> => {
        // Drizzle stores the transaction's `sql` in the session that it creates for it.
        const { session } = transaction as { session?: { client?: unknown } }
        connected(connectionOf(session?.client))
        return work(transaction)
      }
      return db.transaction(run as never, config) as Promise<T>
    },
  })
}

/**
 * Runs the migrations of drizzle-kit that have not run. On Aurora DSQL statements are rewritten as by `toDsqlStatements`, each runs alone,
 * and a migration that broke half-way goes on where it stopped. Drizzle's own `migrate` runs all of them in one transaction.
 *
 * Exported from `'pg-iam/drizzle-postgres-js'`.
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
  checkClient(db?.$client, 'db.$client', ['reserve', 'unsafe'], 'the client of drizzleClient()')
  return migrateFolder(options, { connect: () => reserved(db.$client) })
}

async function reserved(sql: Sql): Promise<PooledConnection> {
  const connection = await sql.reserve()
  return {
    query: async (text) => ({ rows: [...(await connection.unsafe(text))] }),
    // A lost connection is not given out again.
    release: () => connection.release(),
  }
}

function clientOf(db: DrizzleTransactions): Sql {
  const { $client } = db as Partial<DrizzleTransactions>
  if ($client !== undefined) return $client
  throw invalidOption('db', DATABASE, db)
}

const DATABASE = 'a Drizzle database, such as drizzleClient() returns'
