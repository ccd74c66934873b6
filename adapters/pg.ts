/** Logins for pg (node-postgres). */
import { Client, Pool, type ClientBase, type ClientConfig, type PoolConfig } from 'pg'
import { checkDriverOptions, type OwnedByLogin } from '../core/connection/driver-options.js'
import { createLoginStream } from '../core/connection/login-stream.js'
import type { Login } from '../core/login.js'

/**
 * Returns a pool whose every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * @param config whatever `pg.Pool` takes, but for the address, the user, the password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function createPool(login: Login, config: PoolConfig = {}): Pool {
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
 * @param config whatever `pg.Client` takes, but for the address, the user, the password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function createClient(login: Login, config: ClientConfig = {}): Client {
  const client = new Client(clientConfig(login, config))
  client.on('error', ignore)
  return client
}

/**
 * Returns the configuration for a `pg.Pool` or `pg.Client` of your own, or of a library that takes one.
 *
 * `ssl` is `false` in it and there is no `password`: the connection that its `stream` makes is verified TLS already, and
 * logs in by itself.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function pgConfig(login: Login, config: PoolConfig = {}): PoolConfig {
  const { onConnect } = config
  return {
    maxLifetimeSeconds: login.maxLifetimeSecs,
    ...config,
    ...clientConfig(login, config),
    // A client that is checked out has no listener of the pool's: the death of its backend would end the process.
    onConnect: (client: ClientBase) => {
      client.on('error', ignore)
      return onConnect?.(client)
    },
  }
}

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  user: 'user',
  database: 'database',
  password: 'password',
  connectionString: 'url',
  stream: 'socket',
  ssl: 'tls',
}

function clientConfig(login: Login, config: ClientConfig): ClientConfig {
  const tls = checkDriverOptions(login, config, OWNED)
  const { sslnegotiation: _negotiation, ...rest } = config
  return {
    ...rest,
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { user: login.user }),
    // Said aloud, because pg reads PGSSLMODE where it is left out, and would start TLS inside of TLS.
    ssl: false,
    stream: () => createLoginStream(login, tls),
  }
}

function ignore(): void {}
