/** The engine that is PGlite: PostgreSQL in WebAssembly, in a worker of this process. */
import { resolve } from 'node:path'
import type { Logger } from '../../../core/logger.js'
import { parameterStatus, readyForQuery } from '../../wire/backend-messages.js'
import { ServerError } from '../../wire/server-error.js'
import type { Engine, EngineSession, SessionRequest } from '../engine.js'
import { ensureDataDirectory } from './data-directory.js'
import { lockDataDirectory } from './data-directory-lock.js'
import { createDumps } from './dumps.js'
import { createEngineHost, type EngineRun } from './engine-host.js'
import { startEngineWorker, type EngineWorker } from './engine-worker.js'
import { pgliteVersion } from './pglite-package.js'
import { createPgliteSession } from './pglite-session.js'
import { startupSettings } from './startup-settings.js'

export interface PgliteEngineOptions {
  /** The login roles. `admin` always exists: it owns the database, can create roles, and is no superuser. */
  roles: readonly string[]
  /** The name of the one database. */
  database: string
  /** Where the data is kept, on disk. Default: in memory, where it ends with the engine, and 1 GB is the most. */
  dataDirectory?: string
  /** Where a prepared data directory is kept for later starts. Default: `pg-iam` in the user's cache folder. */
  cacheDirectory?: string
  /** How long a session waits for its turn, in milliseconds. Default 10,000. */
  lockTimeoutMs?: number
  /** How long a session may keep others waiting while it is idle in a transaction, in milliseconds. Default 5,000. */
  idleInTransactionTimeoutMs?: number
  /** How long a statement may run, in milliseconds; a session may set a lower `statement_timeout`. Default 60,000. */
  statementTimeoutMs?: number
  /** How long a statement that was cancelled may go on before the engine is started anew, in milliseconds. Default 5,000. */
  cancelGraceMs?: number
  logger?: Logger
}

/**
 * Starts PGlite and gives it to any number of sessions.
 *
 * There is one PostgreSQL connection underneath, so transactions take turns: while one is open, all others wait. Each session has a
 * role, settings, prepared statements, cursors and channels of its own. What belongs to one connection and cannot be told apart is
 * refused with `0A000`: temporary tables without ON COMMIT DROP, cursors WITH HOLD, advisory locks of a session, replication.
 *
 * These differ from a real server: nothing runs at the same time, so there are no conflicts, deadlocks or lock waits to see.
 * `currval` and `lastval` hold until another session has had a turn, and fail with 55000 after that. EXECUTE and DEALLOCATE find
 * statements that PREPARE made, not those of the protocol. `pg_backend_pid()` is the same in all sessions. A setting that RESET takes
 * back to what the startup packet said has that value from the next message on. Temporary functions end with the turn.
 *
 * A cancel, a `statement_timeout`, or a client that leaves ends a running statement within milliseconds, as on a real server. A
 * statement that goes on nevertheless ends the engine with all its sessions, and a new one starts: with the data in
 * `dataDirectory`, or else without data.
 *
 * Rejects with `ERR_PEER_MISSING` without `@electric-sql/pglite`, with `ERR_OPTION_INVALID` for a `dataDirectory` that holds
 * something else, and with `ERR_GATEWAY_ENGINE` when the directory is in use or PGlite does not start.
 */
export async function startPgliteEngine(options: PgliteEngineOptions): Promise<Engine> {
  const settings = { ...DEFAULTS, ...options }
  const version = await pgliteVersion()
  const dataDirectory =
    options.dataDirectory === undefined ? undefined : resolve(options.dataDirectory)
  const unlock = dataDirectory === undefined ? NOTHING : await lockDataDirectory(dataDirectory)
  try {
    const host = await createEngineHost({
      start: workerStarter(settings, version, dataDirectory),
      limits: settings,
      isInMemory: dataDirectory === undefined,
      logger: settings.logger,
    })
    let sessions = FIRST_SESSION
    return {
      name: 'pglite',
      openSession: async (request) =>
        openSession(await host.run(), sessions++, request, settings.database),
      async close() {
        await host.close()
        await unlock()
      },
    }
  } catch (error) {
    await unlock()
    throw error
  }
}

type Settings = typeof DEFAULTS & PgliteEngineOptions

const NOTHING = async (): Promise<void> => {}
const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} }
const DEFAULTS = {
  lockTimeoutMs: 10_000,
  idleInTransactionTimeoutMs: 5_000,
  statementTimeoutMs: 60_000,
  cancelGraceMs: 5_000,
  logger: SILENT,
}
/**
 * The numbers of the sessions are the process IDs that clients get. That of the one backend, which `pg_backend_pid()` returns, is below
 * (42 in PGlite 0.5): a function that takes a process ID must not hit it by the number of a session.
 */
const FIRST_SESSION = 1_000
const START_TIMEOUT_MS = 60_000
const LINGER_MS = 1_000

function workerStarter(
  settings: Settings,
  version: string,
  dataDirectory: string | undefined,
): () => Promise<EngineWorker> {
  const { roles, database, statementTimeoutMs, cancelGraceMs, cacheDirectory, logger } = settings
  const dumps = createDumps({ pgliteVersion: version, database, cacheDirectory, logger })
  const start = (place: { dump?: Uint8Array; dataDirectory?: string }): Promise<EngineWorker> =>
    startEngineWorker({
      roles,
      database,
      dump: place.dump,
      dataDirectory: place.dataDirectory,
      statementTimeoutMs,
      graceMs: cancelGraceMs,
      startTimeoutMs: START_TIMEOUT_MS,
    })
  if (dataDirectory !== undefined) {
    return async () => {
      await ensureDataDirectory(dataDirectory, () => dumps.get())
      return start({ dataDirectory })
    }
  }
  return async () => {
    try {
      return await start({ dump: await dumps.get() })
    } catch {
      // Whole as it is, the dump may come from a PGlite that was put in the place of this one.
      await dumps.discard()
      return start({ dump: await dumps.get() })
    }
  }
}

async function openSession(
  { worker, turns, statements, notifications, sessions }: EngineRun,
  id: number,
  { role, database, parameters }: SessionRequest,
  ownDatabase: string,
): Promise<EngineSession> {
  if (database !== ownDatabase) throw fatal('3D000', `database "${database}" does not exist`)
  const settings = startupSettings(parameters)
  const turn = await turns.ask({ isPatient: false, onOverstayed: () => {} }).turn
  try {
    const opened = await worker.perform({ type: 'open', session: id, role, parameters: settings })
    statements.lastSession = id
    statements.unnamedOwner = undefined
    if (opened.refusal !== undefined) throw fatal(opened.refusal.sqlState, opened.refusal.message)
    const reported = (opened.parameters ?? []).map(([name, value]) => parameterStatus(name, value))
    const session = createPgliteSession({
      id,
      worker,
      turns,
      statements,
      notifications,
      greeting: Buffer.concat([...reported, readyForQuery('I')]),
      lingerMs: LINGER_MS,
    })
    sessions.add(session)
    void session.finished.then(() => sessions.delete(session))
    return session.stream
  } finally {
    turn.release()
  }
}

function fatal(sqlState: string, message: string): ServerError {
  return new ServerError(sqlState, message, { severity: 'FATAL' })
}
