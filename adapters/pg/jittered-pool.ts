/** A `pg.Pool` whose connections each have an age of their own at which it replaces them. */
import { Pool, type PoolConfig } from 'pg'
import { drawLifetimeSecs } from '../../core/connection/lifetime.js'
import { loginOfFactory } from '../../core/connection/stream-factory.js'

/**
 * pg-pool reads `maxLifetimeSeconds` of its options for each new connection, and has no jitter. Its constructor copies the
 * options, which would turn a getter into one value for all, so the getter is set on the copy.
 *
 * A number that the caller gave stays as it is, and so does a pool without a login. The name has "Pool" in it because Drizzle
 * recognises a pool of another copy of pg by that.
 */
export class JitteredPool extends Pool {
  constructor(config?: PoolConfig) {
    super(config)
    const login = loginOfFactory(config?.stream)
    if (login === undefined || config?.maxLifetimeSeconds !== undefined) return
    Object.defineProperty(this.options, 'maxLifetimeSeconds', {
      get: () => drawLifetimeSecs(login),
      enumerable: true,
      configurable: true,
    })
  }
}
