/** What Sequelize takes for the connections to one server. */
import type { Options } from 'sequelize'
import { checkDriverOptions, type OwnedByLogin } from '../../core/connection/driver-options.js'
import { createStreamFactory } from '../../core/connection/stream-factory.js'
import type { Login } from '../../core/login.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../../core/options/startup-parameters.js'

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

type ConnectionPart = 'host' | 'port' | 'database' | 'username' | 'dialectOptions'

/**
 * The options for connections of a login: those of the only server, or of each one of a replication set.
 *
 * Throws `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for what the login has already.
 */
export function connectionOf(
  login: Login,
  dialectOptions: object = {},
): Pick<Options, ConnectionPart> {
  return {
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    dialectOptions: {
      // `SET client_min_messages` on each connection is refused by some servers, Aurora DSQL among them.
      clientMinMessages: 'ignore',
      ...withLogin(login, dialectOptions, 'dialectOptions.'),
    },
  }
}

/** Changes a configuration that Sequelize is about to connect with, so that it connects with the login. */
export function connectWith(login: Login, config: SequelizeConnectionConfig): void {
  // Sequelize fills in a host of its own where none is given, so only what cannot be a default is compared.
  checkDriverOptions(login, { password: config.password }, { password: 'password' })
  config.dialectOptions = withLogin(login, config.dialectOptions ?? {})
  Object.assign(config, { host: login.host, port: login.port, database: login.database })
  if (login.user !== undefined) config.username = login.user
}

/** Address and user are Sequelize's own options, which it puts in the place of any that are here. */
const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  password: 'password',
  connectionString: 'url',
  ssl: 'tls',
  sslmode: 'tls',
  sslnegotiation: 'negotiation',
  stream: 'socket',
  target_session_attrs: 'session-attributes',
}

function withLogin(login: Login, dialectOptions: object, prefix = ''): object {
  const tls = checkDriverOptions(login, dialectOptions, OWNED, prefix)
  const given = givenParameters(dialectOptions, PG_STARTUP_OPTIONS, prefix)
  // `ssl` is said aloud, because pg reads PGSSLMODE where it is left out, and would start TLS inside of TLS.
  return {
    ...dialectOptions,
    ssl: false,
    stream: createStreamFactory(login, { tls, given, isBootstrapQuery: asksForTypes }),
  }
}

/** Sequelize asks for ranges and enums on its first connections, and leaks one on which that fails. */
function asksForTypes(request: Buffer): boolean {
  return request.includes('WITH ranges AS')
}
