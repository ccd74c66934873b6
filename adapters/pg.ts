/** Logins for pg (node-postgres). */
import { Client, type ClientConfig, Pool, type PoolClient, type PoolConfig } from 'pg'
import { loginOfFactory } from '../core/connection/login-stream.js'
import { RETRY_CHECKS, type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import {
  scopeToTransaction,
  type TransactionConnection,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import {
  boolean,
  checkClient,
  checkOptions,
  invalidOption,
  isPlainObject,
  oneOf,
} from '../core/options/check.js'
import { clientConfig, ignore, pgConfig } from './pg/config.js'

export { pgConfig, type PgLoginConfig, type PgLoginSettings } from './pg/config.js'

/**
 * Returns a pool. Each physical connection logs in with its own token.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * @param login a login, or a URL for {@link loginFromUrl}
 * @param config the options of `pg.Pool`, except address, user, password and TLS, which the login determines
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines
 */
export function createPool(login: LoginOrUrl, config: PoolConfig = {}): Pool {
  const pool = new Pool(pgConfig(login, config))
  // Without a listener the loss of an idle connection ends the process. The pool has already removed the connection.
  pool.on('error', ignore)
  return pool
}

/**
 * Returns an unconnected client that logs in with a token. Like every `pg.Client` it opens one connection.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * @param login a login, or a URL for {@link loginFromUrl}
 * @param config the options of `pg.Client`, except address, user, password and TLS, which the login determines
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines
 */
export function createClient(login: LoginOrUrl, config: ClientConfig = {}): Client {
  const client = new Client(clientConfig(loginOf(login), config))
  client.on('error', ignore)
  return client
}

/** Options for BEGIN and for retries. */
export interface PgTransactionOptions extends RetryOptions {
  /** Default: the server's. Aurora DSQL only supports `repeatable read`. */
  isolationLevel?: 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable'
  /** Default `false`. */
  readOnly?: boolean
}

/**
 * Runs `fn` in a transaction on one connection of `pool`, and retries it as a whole after a conflict. `fn` can use the connection until it
 * settles; later statements are rejected with `ERR_CLOSED`.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * Rejects with the error of `fn` or of the database, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` if the connection was lost after COMMIT was written. It is not retried then.
 */
export async function pgTransaction<T>(
  pool: Pool,
  fn: (client: PoolClient) => Promise<T>,
  options: PgTransactionOptions = {},
): Promise<T> {
  checkClient(pool, 'pool', ['connect', 'query'], POOL)
  // A client has `connect` too, but no pool options.
  if (!isPlainObject(pool.options)) throw invalidOption('pool', POOL, pool)
  return runTransaction({
    client: pool,
    login: loginOfFactory(pool.options.stream),
    retry: splitRetryOptions(options).retry,
    fn,
    attempt: (work, connected) => runOnPool(pool, beginStatement(options), work, connected),
  })
}

const POOL = 'a Pool of pg, such as createPool() returns'

async function runOnPool<T>(
  pool: Pool,
  begin: string,
  work: (client: PoolClient) => Promise<T>,
  connected: (connection: TransactionConnection | undefined) => void,
): Promise<T> {
  const client = await pool.connect()
  connected(watchPgClient(client))
  const scoped = scopeToTransaction(client)
  // Without a successful COMMIT or ROLLBACK, the state of the connection is unknown.
  let isClean = false
  try {
    await client.query(begin)
    try {
      const result = await work(scoped.client)
      scoped.end()
      await client.query('COMMIT')
      isClean = true
      return result
    } catch (error) {
      scoped.end()
      isClean = await client.query('ROLLBACK').then(
        () => true,
        () => false,
      )
      throw error
    }
  } finally {
    client.release(!isClean)
  }
}

const BEGIN_CHECKS = {
  ...RETRY_CHECKS,
  isolationLevel: oneOf('read uncommitted', 'read committed', 'repeatable read', 'serializable'),
  readOnly: boolean,
} as const

function beginStatement(options: PgTransactionOptions): string {
  const { isolationLevel, readOnly } = checkOptions(splitRetryOptions(options).own, BEGIN_CHECKS)
  const modes = [
    ...(isolationLevel === undefined ? [] : [`ISOLATION LEVEL ${isolationLevel.toUpperCase()}`]),
    ...(readOnly === true ? ['READ ONLY'] : []),
  ]
  return ['BEGIN', modes.join(', ')].join(' ').trim()
}
