/** The options of pg for a login. Loads no pg, so that they suit whichever copy an application has. */
import type { Duplex } from 'node:stream'
import type { ClientBase, ClientConfig, PoolConfig } from 'pg'
import {
  checkDriverOptions,
  jitteredMaxLifetime,
  OWNED_OF_PG,
} from '../../core/connection/driver-options.js'
import { createStreamFactory, type LoginStreamOptions } from '../../core/connection/login-stream.js'
import type { Login } from '../../core/login.js'
import { loginOf, type LoginOrUrl } from '../../core/login-from.js'
import { withoutUndefined } from '../../core/options/check.js'
import { givenParameters, PG_STARTUP_OPTIONS } from '../../core/options/startup-parameters.js'

/**
 * The result of `pgConfig`: the given options and those of the login.
 *
 * The type has only these properties. Libraries on pg (pg-boss 10, pg-promise 12) declare options such as `password` differently from pg,
 * so their types do not accept a `PoolConfig`.
 */
export type PgLoginConfig<Config extends PoolConfig = {}> = Omit<
  Config,
  keyof PgLoginSettings | 'password' | 'connectionString'
> &
  PgLoginSettings

/** The options of pg that the login adds. */
export interface PgLoginSettings {
  host: string
  port: number
  database: string
  /** Absent if the first token determines the user. */
  user?: string
  ssl: false
  sslnegotiation: 'postgres'
  stream: () => Duplex
  /** Absent if the login has no `maxLifetimeSecs`. */
  maxLifetimeSeconds?: number
  /** Its client is any object: a library may have another version of `@types/pg` (Payload 3 pins one). */
  onConnect: (client: object) => void
}

/**
 * Returns the configuration for your own `pg.Pool` or `pg.Client`, or for a library that takes one.
 *
 * It has `ssl: false` and no `password`: its `stream` opens connections that already use verified TLS, and logs in.
 *
 * Exported from `'pg-iam/pg'`.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login determines
 */
export function pgConfig<Config extends PoolConfig = {}>(
  login: LoginOrUrl,
  config?: Config & PoolConfig & OnlyKnown<Config, PoolConfig>,
): PgLoginConfig<Config>
export function pgConfig(given: LoginOrUrl, config: PoolConfig = {}): PoolConfig {
  return poolConfig(loginOf(given), config)
}

/** The options of a `pg.Pool`. */
export function poolConfig(
  login: Login,
  config: PoolConfig,
  stream?: Pick<LoginStreamOptions, 'through'>,
): PoolConfig {
  const { onConnect } = config
  return {
    ...jitteredMaxLifetime(login),
    ...withoutUndefined(config),
    ...clientConfig(login, config, stream),
    // The pool has no error listener on a client that is checked out, so the loss of its connection would end the process.
    onConnect: (client: ClientBase) => {
      client.on('error', ignore)
      return onConnect?.(client)
    },
  }
}

/** Rejects unknown options, which a generic type parameter would otherwise accept. */
type OnlyKnown<Given, Known> = { [Name in Exclude<keyof Given, keyof Known>]: never }

/** The options of a `pg.Client`. */
export function clientConfig(
  login: Login,
  config: ClientConfig,
  { through }: Pick<LoginStreamOptions, 'through'> = {},
): ClientConfig {
  const tls = checkDriverOptions(login, config, OWNED_OF_PG)
  const given = givenParameters(config, PG_STARTUP_OPTIONS)
  return {
    ...config,
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { user: login.user }),
    // Set explicitly: pg would otherwise read PGSSLMODE and PGSSLNEGOTIATION, and start TLS inside TLS.
    ssl: false,
    sslnegotiation: 'postgres',
    stream: createStreamFactory(login, { tls, given, ...(through && { through }) }),
  }
}

/** A listener of `error`. */
export function ignore(): void {}
