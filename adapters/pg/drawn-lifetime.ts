/** The lifetime of the connections of a `pg.Pool`. */
import { drawLifetimeSecs } from '../../core/connection/lifetime.js'
import type { Login } from '../../core/login.js'

/**
 * Returns a value for `maxLifetimeSeconds` that is another number for each connection. pg-pool has no jitter, but multiplies the
 * option anew for each connection that it makes, so it takes whatever has a `valueOf`.
 */
export function drawnLifetimeSeconds(login: Login): number {
  return { valueOf: () => drawLifetimeSecs(login) } as unknown as number
}
