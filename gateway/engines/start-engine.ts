/** Starts what stands behind the gateway. */
import type { GatewaySettings } from '../options.js'
import type { Engine } from './engine.js'
import { startUpstreamEngine } from './upstream/upstream-engine.js'

/** How long a connection to the real PostgreSQL, and a login there, may take. */
const CONNECT_TIMEOUT_MS = 10_000

export async function startEngine(settings: GatewaySettings): Promise<Engine> {
  const { engine, roles, database, logger } = settings
  if ('upstream' in engine) {
    const { upstream } = engine
    return startUpstreamEngine({ upstream, connectTimeoutMs: CONNECT_TIMEOUT_MS, logger })
  }
  // Whoever has a real PostgreSQL need not load the other engine.
  const { startPgliteEngine } = await import('./pglite/pglite-engine.js')
  return startPgliteEngine({ ...engine.pglite, roles, database, logger })
}
