/** Logins for Postgres.js. */
import postgres, { type Options, type PostgresType, type Sql } from 'postgres'
import { checkDriverOptions, type OwnedByLogin } from '../core/connection/driver-options.js'
import { createLoginStream } from '../core/connection/login-stream.js'
import type { Login } from '../core/login.js'

/**
 * Returns a Postgres.js instance whose every physical connection logs in with a token of its own.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * @param options whatever `postgres()` takes, but for the address, the user, the password and TLS, which are the login's
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function createSql<T extends Record<string, PostgresType> = {}>(
  login: Login,
  options: Options<T> = {},
): Sql<
  Record<string, PostgresType> extends T ? {} : { [Name in keyof T]: ReturnType<T[Name]['parse']> }
> {
  return postgres(postgresOptions(login, options)) as never
}

/**
 * Returns the options for a `postgres()` call of your own, or of a library that takes them.
 *
 * `ssl` is `false` in them and there is no `password`: the connection that their `socket` makes is verified TLS already,
 * and logs in by itself.
 *
 * Exported from `'pg-iam/postgres-js'`.
 *
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options that the login has already
 */
export function postgresOptions<T extends Record<string, PostgresType> = {}>(
  login: Login,
  options: Options<T> = {},
): Options<T> {
  const tls = checkDriverOptions(login, options, OWNED)
  return {
    max_lifetime: login.maxLifetimeSecs,
    ...options,
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    // Said aloud, because Postgres.js reads PGSSL where it is left out.
    ssl: false,
    // A public option that its types leave out. It is called per physical connection and must not reject: that would
    // lose the slot for good. The stream never does; what fails is reported on it, as by any socket.
    socket: () => createLoginStream(login, tls),
  } as Options<T>
}

const OWNED: Readonly<Record<string, OwnedByLogin>> = {
  host: 'host',
  hostname: 'host',
  port: 'port',
  user: 'user',
  username: 'user',
  database: 'database',
  db: 'database',
  password: 'password',
  pass: 'password',
  path: 'socket',
  socket: 'socket',
  ssl: 'tls',
}
