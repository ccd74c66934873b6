/** Logins for TypeORM. */
import type { DataSourceOptions } from 'typeorm'
import { checkDriverOptions, type OwnedByLogin } from '../core/connection/driver-options.js'
import { createLoginStream } from '../core/connection/login-stream.js'
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import { isPlainObject } from '../core/options/check.js'
import { unverified, weakens } from '../core/tls/verified-tls.js'

/** TypeORM's options for PostgreSQL. */
export type TypeormPostgresOptions = Extract<DataSourceOptions, { type: 'postgres' }>

/**
 * Returns the options for `new DataSource()`: every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * @param options whatever `new DataSource()` takes for PostgreSQL, but for the address, the user, the password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function typeormOptions(
  login: Login,
  options: Partial<TypeormPostgresOptions> = {},
): TypeormPostgresOptions {
  if (options.replication !== undefined) {
    throw new PgIamError('ERR_OPTION_CONFLICT', '"replication" must not be given beside a login', {
      hint: 'Make one DataSource per login.',
    })
  }
  const { extra = {} } = options as { extra?: Extra }
  const ownTls = checkDriverOptions(login, options, OWNED)
  const tls = checkDriverOptions(login, extra, EXTRA_OWNED, 'extra.')
  return {
    ...options,
    type: 'postgres',
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    ssl: false,
    extra: {
      maxLifetimeSeconds: login.maxLifetimeSecs,
      ...extra,
      // `extra` beats the options above it. `ssl` is said aloud, because pg reads PGSSLMODE where it is left out.
      ssl: false,
      stream: () => createLoginStream(login, tls.ca === undefined ? ownTls : tls),
    },
  }
}

/**
 * Returns a password function for `new DataSource({ password })`: a token for each physical connection.
 *
 * Host, user and TLS stay yours, so prefer `typeormOptions`: it also keeps pg from leaving a socket open for each token
 * that could not be made.
 *
 * Exported from `'pg-iam/typeorm'`.
 *
 * The function rejects with `ERR_TLS_UNVERIFIED` where the connection has no verified TLS, and as the login's `token()`.
 */
export function typeormPassword(login: Login): () => Promise<string> {
  // pg calls it with the parameters of the connection, which TypeORM's type does not say.
  return async (...connection: unknown[]) => {
    const [parameters] = connection
    if (isPlainObject(parameters)) {
      const { ssl } = parameters
      if (ssl === undefined || weakens(ssl)) throw unverified('ssl')
    }
    return login.password()
  }
}

type Extra = Record<string, unknown>

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  username: 'user',
  database: 'database',
  password: 'password',
  url: 'url',
  ssl: 'tls',
}

const EXTRA_OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  user: 'user',
  database: 'database',
  password: 'password',
  connectionString: 'url',
  stream: 'socket',
  ssl: 'tls',
}
