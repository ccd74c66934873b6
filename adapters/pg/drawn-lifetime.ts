/** The lifetime of the connections of a `pg.Pool`. */
import { drawLifetimeSecs } from '../../core/connection/lifetime.js'
import type { Login } from '../../core/login.js'

/**
 * The option `maxLifetimeSeconds` for the pool of a login that limits the age of connections. Its value is another number for each connection. pg-pool has no jitter, but multiplies the
 * option anew for each connection that it makes, so it takes whatever has a `valueOf`.
 *
 * There are some hundreds of numbers, and not any: Node (20) keeps a list for each duration of a timer. pg-pool's timers keep no
 * process alive, and the list of such a one stays when it is cleared, until the time would have been up: 150 bytes for each
 * connection of up to an hour.
 */
export function drawnLifetime(login: Login): { maxLifetimeSeconds?: number } {
  const { maxLifetimeSecs } = login
  if (maxLifetimeSecs === undefined) return {}
  const valueOf = (): number => {
    const part = drawLifetimeSecs(login) / maxLifetimeSecs
    return (maxLifetimeSecs * Math.round(part * STEPS)) / STEPS
  }
  return { maxLifetimeSeconds: { valueOf } as unknown as number }
}

/** Of a whole lifetime; a fifth of them is drawn from. */
const STEPS = 2_500
