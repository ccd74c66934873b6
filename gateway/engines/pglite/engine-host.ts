/** Keeps an engine running: whenever it is lost, another one takes its place. */
import type { Logger } from '../../../core/logger.js'
import { singleFlight } from '../../../core/single-flight.js'
import { ServerError } from '../../wire/server-error.js'
import { engineLost, type EngineWorker } from './engine-worker.js'
import { createNotifications, type Notifications } from './notifications.js'
import type { PgliteSession } from './pglite-session.js'
import type { EngineStatements } from './prepared-statements.js'
import { createTurnQueue, type TurnLimits, type TurnQueue } from './turn-queue.js'

/** One life of the engine, with the sessions that end with it. */
export interface EngineRun {
  readonly worker: EngineWorker
  readonly turns: TurnQueue
  readonly statements: EngineStatements
  readonly notifications: Notifications
  readonly sessions: Set<PgliteSession>
}

export interface EngineHost {
  /** The engine that runs, or soon will. Rejects with a FATAL `ServerError` when none can be started. */
  run(): Promise<EngineRun>
  close(): Promise<void>
}

export interface EngineHostSettings {
  start(): Promise<EngineWorker>
  limits: TurnLimits
  /** Whether the data is lost with the engine. */
  isInMemory: boolean
  logger: Logger
}

/** Rejects when the first engine does not start. */
export async function createEngineHost(settings: EngineHostSettings): Promise<EngineHost> {
  const { limits, logger, isInMemory } = settings
  let closed = false
  let current: EngineRun | undefined

  const start = singleFlight(async (): Promise<EngineRun> => {
    const worker = await settings.start()
    const run: EngineRun = {
      worker,
      turns: createTurnQueue(limits),
      statements: { generation: 0, unnamedOwner: undefined, lastSession: undefined },
      notifications: createNotifications(),
      sessions: new Set(),
    }
    if (closed) {
      await worker.close()
      throw closing()
    }
    current = run
    void worker.ended.then((reason) => replace(run, reason))
    return run
  })
  const replace = (run: EngineRun, reason: string | undefined): void => {
    if (current === run) current = undefined
    if (closed) return
    logger.error(
      isInMemory
        ? 'pglite: the engine was lost, and all data with it, since it was kept in memory'
        : 'pglite: the engine was lost; what was committed is kept in the data directory',
      { reason },
    )
    for (const session of run.sessions) session.terminate(engineLost())
    start().then(
      () => logger.info('pglite: the engine has started anew'),
      (error: unknown) => logger.error('pglite: the engine does not start anew', { error }),
    )
  }

  await start()
  return {
    async run() {
      if (closed) throw closing()
      try {
        return current ?? (await start())
      } catch (error) {
        if (error instanceof ServerError) throw error
        throw new ServerError('57P03', 'the engine does not start', {
          severity: 'FATAL',
          cause: error,
        })
      }
    },
    async close() {
      closed = true
      // One that is just starting closes itself.
      const run = current ?? (await start().catch(() => undefined))
      if (run === undefined) return
      for (const session of run.sessions) session.terminate(closing())
      await Promise.all([...run.sessions].map(({ finished }) => finished))
      await run.worker.close()
    },
  }
}

function closing(): ServerError {
  return new ServerError('57P01', 'terminating connection due to administrator command', {
    severity: 'FATAL',
  })
}
