/** Logins for pg (node-postgres). */
import type { Duplex } from 'node:stream'
import {
  Client,
  type ClientBase,
  type ClientConfig,
  Pool,
  type PoolClient,
  type PoolConfig,
} from 'pg'
import {
  checkDriverOptions,
  jitteredMaxLifetime,
  OWNED_OF_PG,
} from '../core/connection/driver-options.js'
import { createStreamFactory, loginOfFactory } from '../core/connection/login-stream.js'
import { RETRY_CHECKS, type RetryOptions, splitRetryOptions } from '../core/transactions/retry.js'
import { runTransaction } from '../core/transactions/run-transaction.js'
import {
  scopeToTransaction,
  type TransactionConnection,
  watchPgClient,
} from '../core/transactions/transaction-connection.js'
import type { Login } from '../core/login.js'
import { loginOf, type LoginOrUrl } from '../core/login-from.js'
import {
  boolean,
  checkClient,
  checkOptions,
  invalidOption,
  isPlainObject,
  oneOf,
} from '../core/options/check.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'

/**
 * Returns a pool whose every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * @param login a login, or a URL for {@link loginFromUrl}
 * @param config whatever `pg.Pool` takes, but for the address, the user, the password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function createPool(login: LoginOrUrl, config: PoolConfig = {}): Pool {
  const pool = new Pool(pgConfig(login, config))
  // Without a listener the death of an idle connection ends the process; the pool has dropped it by then.
  pool.on('error', ignore)
  return pool
}

/**
 * Returns a client, not yet connected, that logs in with a token. Like every `pg.Client` it is for one connection.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * @param login a login, or a URL for {@link loginFromUrl}
 * @param config whatever `pg.Client` takes, but for the address, the user, the password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function createClient(login: LoginOrUrl, config: ClientConfig = {}): Client {
  const client = new Client(clientConfig(loginOf(login), config))
  client.on('error', ignore)
  return client
}

/**
 * What `pgConfig` returns: what it was given, and what the login adds.
 *
 * It names only what is there. The types of libraries on pg (pg-boss 10, pg-promise 12) differ from those of pg itself in
 * options such as `password`, and would refuse the whole of `PoolConfig`.
 */
export type PgLoginConfig<Config extends PoolConfig = {}> = Omit<
  Config,
  keyof PgLoginSettings | 'password' | 'connectionString'
> &
  PgLoginSettings

/** What the login adds to a configuration of pg. */
export interface PgLoginSettings {
  host: string
  port: number
  database: string
  /** Missing where the first token says who the user is. */
  user?: string
  ssl: false
  sslnegotiation: 'postgres'
  stream: () => Duplex
  /** Missing where the login has no `maxLifetimeSecs`. */
  maxLifetimeSeconds?: number
  onConnect: (client: ClientBase) => void
}

/**
 * Returns the configuration for a `pg.Pool` or `pg.Client` of your own, or of a library that takes one.
 *
 * `ssl` is `false` in it and there is no `password`: the connection that its `stream` makes is verified TLS already, and
 * logs in by itself.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function pgConfig<Config extends PoolConfig = {}>(
  login: LoginOrUrl,
  config?: Config & PoolConfig & OnlyKnown<Config, PoolConfig>,
): PgLoginConfig<Config>
export function pgConfig(given: LoginOrUrl, config: PoolConfig = {}): PoolConfig {
  const login = loginOf(given)
  const { onConnect } = config
  return {
    ...jitteredMaxLifetime(login),
    ...config,
    ...clientConfig(login, config),
    // A client that is checked out has no listener of the pool's: the death of its backend would end the process.
    onConnect: (client: ClientBase) => {
      client.on('error', ignore)
      return onConnect?.(client)
    },
  }
}

/** Refuses options that a generic function would otherwise take with the type that they have. */
type OnlyKnown<Given, Known> = { [Name in Exclude<keyof Given, keyof Known>]: never }

/** How a transaction begins, and how it is retried. */
export interface PgTransactionOptions extends RetryOptions {
  /** Default: the server's. Aurora DSQL knows `repeatable read` only. */
  isolationLevel?: 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable'
  /** Default `false`. */
  readOnly?: boolean
}

/**
 * Runs `fn` in a transaction on one connection of `pool`, and again as a whole when it met a conflict. The connection is
 * `fn`'s until `fn` settles; a statement that comes later is refused with `ERR_CLOSED`.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * Rejects with what `fn` or the database failed with, with `ERR_OCC_EXHAUSTED`, `ERR_ABORTED`, `ERR_TRANSACTION_NESTED`, and with
 * `ERR_OUTCOME_UNKNOWN` when the connection was lost after COMMIT was written; then nothing is retried.
 */
export async function pgTransaction<T>(
  pool: Pool,
  fn: (client: PoolClient) => Promise<T>,
  options: PgTransactionOptions = {},
): Promise<T> {
  checkClient(pool, 'pool', ['connect', 'query'], POOL)
  // A client has `connect`, too, but no options of a pool.
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
  const lease = scopeToTransaction(client)
  // Of a connection on which neither BEGIN nor COMMIT nor ROLLBACK went well nobody knows what state it is in.
  let isClean = false
  try {
    await client.query(begin)
    try {
      const result = await work(lease.client)
      lease.end()
      await client.query('COMMIT')
      isClean = true
      return result
    } catch (error) {
      lease.end()
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

function clientConfig(login: Login, config: ClientConfig): ClientConfig {
  const tls = checkDriverOptions(login, config, OWNED_OF_PG)
  const given = givenParameters(config, PG_STARTUP_OPTIONS)
  return {
    ...config,
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { user: login.user }),
    // Said aloud, because pg reads PGSSLMODE and PGSSLNEGOTIATION where they are left out, and would start TLS inside of TLS.
    ssl: false,
    sslnegotiation: 'postgres',
    stream: createStreamFactory(login, { tls, given }),
  }
}

function ignore(): void {}
