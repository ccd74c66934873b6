/** Logins for Sequelize 6. */
import type { Options } from 'sequelize'
import { checkDriverOptions, type OwnedByLogin } from '../core/connection/driver-options.js'
import { createLoginStream } from '../core/connection/login-stream.js'
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import type { VerifiedTls } from '../core/tls/verified-tls.js'

/**
 * Returns the options for `new Sequelize()`: every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * @param options whatever `new Sequelize()` takes, but for the address, the user, the password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function sequelizeOptions(login: Login, options: Options = {}): Options {
  refuseOtherPaths(options)
  const tls = loginTls(login, options, options.dialectOptions ?? {})
  const { ssl: _ssl, ...rest } = options
  return {
    ...KNOWN_VERSION,
    ...(options.timezone === undefined ? { keepDefaultTimezone: true } : {}),
    ...rest,
    dialect: 'postgres',
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    dialectOptions: {
      // `SET client_min_messages` on each connection is refused by some servers, Aurora DSQL among them.
      clientMinMessages: 'ignore',
      ...withLogin(options.dialectOptions, login, tls),
    },
  }
}

/**
 * Returns a `beforeConnect` hook, for `new Sequelize({ hooks: { beforeConnect } })` or `addHook('beforeConnect', ...)`, that
 * logs every physical connection in with a token of its own. Where it goes, and as whom, is what the login says.
 *
 * Exported from `'pg-iam/sequelize'`.
 *
 * The hook throws `ERR_OPTION_CONFLICT` where a password is configured too, and `ERR_TLS_UNVERIFIED` where
 * `dialectOptions.ssl` would weaken TLS; that fails the connection with this error.
 */
export function sequelizeHook(login: Login): (config: SequelizeConnectionConfig) => void {
  return (config) => {
    refuseOtherPaths(config)
    // Sequelize fills in a host of its own where none is given, so only what cannot be a default is compared.
    const tls = checkDriverOptions(
      login,
      { ...config.dialectOptions, password: config.password },
      HOOK_OWNED,
    )
    // One object serves all connections of a pool, so this must come out the same each time.
    Object.assign(config, { host: login.host, port: login.port, database: login.database })
    if (login.user !== undefined) config.username = login.user
    config.dialectOptions = withLogin(config.dialectOptions, login, tls)
  }
}

/** What the hook touches of Sequelize's connection configuration. */
export interface SequelizeConnectionConfig {
  host?: string
  port?: string | number
  database?: string
  username?: string
  password?: string | null
  native?: boolean
  dialectOptions?: object
}

/**
 * Without a version Sequelize opens a connection more, only to ask for it; it chooses nothing by versions this new.
 * The option is documented, and missing in its types.
 */
const KNOWN_VERSION: object = { databaseVersion: '16.0.0' }

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  port: 'port',
  username: 'user',
  database: 'database',
  password: 'password',
}

const DIALECT_OWNED: Readonly<Record<string, OwnedByLogin>> = { ssl: 'tls', stream: 'socket' }

/** On its second call the hook finds the stream that it set itself. */
const HOOK_OWNED: Readonly<Record<string, OwnedByLogin>> = { password: 'password', ssl: 'tls' }

function loginTls(login: Login, options: Options, dialectOptions: object): VerifiedTls {
  // Sequelize does nothing about a top-level `ssl`, but whoever wrote `ssl: false` meant something.
  checkDriverOptions(login, { ...options }, { ...OWNED, ssl: 'tls' })
  return checkDriverOptions(login, dialectOptions, DIALECT_OWNED, 'dialectOptions.')
}

function withLogin(dialectOptions: object | undefined, login: Login, tls: VerifiedTls): object {
  // `ssl` is said aloud, because pg reads PGSSLMODE where it is left out, and would start TLS inside of TLS.
  return { ...dialectOptions, ssl: false, stream: () => createLoginStream(login, tls) }
}

/** libpq opens its connections itself, and a replication set has several addresses. */
function refuseOtherPaths({
  native,
  replication,
}: {
  native?: boolean
  replication?: unknown
}): void {
  if (native === true) {
    throw new PgIamError('ERR_OPTION_CONFLICT', '"native" must not be true beside a login', {
      hint: 'Use the JavaScript driver, pg.',
    })
  }
  if (replication !== undefined && replication !== null && replication !== false) {
    throw new PgIamError('ERR_OPTION_CONFLICT', '"replication" must not be given beside a login', {
      hint: 'Make one Sequelize instance per login.',
    })
  }
}
