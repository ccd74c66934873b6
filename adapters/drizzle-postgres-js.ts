/** Logins for Drizzle on Postgres.js. */
import type { DrizzleConfig } from 'drizzle-orm'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { Options, PostgresType, Sql } from 'postgres'
import type { Login } from '../core/login.js'
import { createSql } from './postgres-js.js'

/** Drizzle's own configuration, with `connection` for Postgres.js as in `drizzle({ connection })`. */
export type DrizzleClientConfig<TSchema extends Record<string, unknown>> =
  DrizzleConfig<TSchema> & {
    connection?: Options<Record<string, PostgresType>>
  }

/**
 * Returns a Drizzle database on Postgres.js whose every physical connection logs in with a token of its own. Postgres.js is
 * its `$client`; end that to close it. Do not use that for queries of your own: Drizzle changes how it reads dates.
 *
 * Exported from `'pg-iam/drizzle-postgres-js'`.
 *
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options of `connection` that the login has already
 */
export function drizzleClient<TSchema extends Record<string, unknown> = Record<string, never>>(
  login: Login,
  config: DrizzleClientConfig<TSchema> = {},
): PostgresJsDatabase<TSchema> & { $client: Sql } {
  const { connection = {}, ...drizzleConfig } = config
  return drizzle({
    ...(drizzleConfig as DrizzleConfig<TSchema>),
    client: createSql(login, connection) as Sql,
  })
}
