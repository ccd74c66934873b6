/** Logins for Drizzle on pg. */
import type { DrizzleConfig } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import type { Pool, PoolConfig } from 'pg'
import type { Login } from '../core/login.js'
import { createPool } from './pg.js'

/** Drizzle's own configuration, with `connection` for the pool as in `drizzle({ connection })`. */
export type DrizzleClientConfig<TSchema extends Record<string, unknown>> =
  DrizzleConfig<TSchema> & { connection?: PoolConfig }

/**
 * Returns a Drizzle database on a `pg.Pool` whose every physical connection logs in with a token of its own. The pool is
 * its `$client`; end that to close it.
 *
 * Exported from `'pg-iam/drizzle'`.
 *
 * @throws PgIamError `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for options of `connection` that the login has already
 */
export function drizzleClient<TSchema extends Record<string, unknown> = Record<string, never>>(
  login: Login,
  config: DrizzleClientConfig<TSchema> = {},
): NodePgDatabase<TSchema> & { $client: Pool } {
  const { connection = {}, ...drizzleConfig } = config
  return drizzle({
    ...(drizzleConfig as DrizzleConfig<TSchema>),
    client: createPool(login, connection),
  })
}
