/** What Sequelize takes for the connections to one server. */
import type { Options } from 'sequelize'
import { checkDriverOptions, type OwnedByLogin } from '../../core/connection/driver-options.js'
import type { BootstrapQuery } from '../../core/connection/backend-tracker.js'
import { createStreamFactory } from '../../core/connection/stream-factory.js'
import { PgIamError } from '../../core/errors.js'
import type { Login } from '../../core/login.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../../core/options/startup-parameters.js'
import { describeValue } from '../../core/redact.js'

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
    dialectOptions: withLogin(login, dialectOptions, 'dialectOptions.'),
  }
}

/** Changes a configuration that Sequelize is about to connect with, so that it connects with the login. */
export function connectWith(login: Login, config: SequelizeConnectionConfig): void {
  // Sequelize fills in a host of its own where none is given, so only what cannot be a default is compared.
  checkDriverOptions(login, { password: config.password }, { password: 'password' })
  const { password, ...others } = (config.dialectOptions ?? {}) as { password?: unknown }
  // Sequelize (6.37) puts what a URL says here, with an empty password where it has none.
  config.dialectOptions = withLogin(login, password ? { password, ...others } : others)
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
  const { clientMinMessages } = dialectOptions as { clientMinMessages?: unknown }
  refuseMessageLevel(login, `${prefix}clientMinMessages`, clientMinMessages)
  // `ssl` is said aloud, because pg reads PGSSLMODE where it is left out, and would start TLS inside of TLS.
  return {
    ...dialectOptions,
    ...(setsMessageLevel(login) ? {} : { clientMinMessages: 'ignore' }),
    ssl: false,
    stream: createStreamFactory(login, { tls, given, bootstrapQuery }),
  }
}

/**
 * Sequelize (6.37) sends `SET client_min_messages` on each connection, at `warning` where nothing is given. Aurora DSQL refuses it:
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/accessing.html
 */
function setsMessageLevel({ provider }: Login): boolean {
  return provider !== 'aurora-dsql'
}

/** Refuses a level that cannot be set. `'ignore'`, or `false` among Sequelize's own options, sets none. */
export function refuseMessageLevel(login: Login, name: string, level: unknown): void {
  const isNone = level === undefined || level === null || level === false || level === ''
  const isIgnored = typeof level === 'string' && level.toLowerCase() === 'ignore'
  if (setsMessageLevel(login) || isNone || isIgnored) return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must not be given for Aurora DSQL, which cannot set it, got ${describeValue(level)}`,
    { hint: 'Leave it out: Aurora DSQL refuses SET client_min_messages.' },
  )
}

/**
 * Whether Sequelize should leave the time zone of the session as it is. By itself it sets UTC on each connection. That is the time
 * zone of Aurora DSQL anyway, and Redshift does not know the syntax.
 */
export function keepsTimeZone({ provider }: Login): boolean {
  return provider === 'aurora-dsql' || provider === 'redshift'
}

/**
 * Sequelize (6.37) sets up the session of a new connection, and asks for ranges and enums on its first ones. It leaks a connection on
 * which either fails.
 */
const bootstrapQuery: BootstrapQuery = (request) => {
  if (request.includes('WITH ranges AS')) return 'optional'
  return SETS_UP.some((statement) => request.includes(statement)) ? 'required' : undefined
}

const SETS_UP = [
  'SET standard_conforming_strings=',
  'SET client_min_messages TO ',
  'SET TIME ZONE ',
]
