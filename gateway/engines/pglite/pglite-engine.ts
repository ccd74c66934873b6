/** The engine `pglite`: PostgreSQL in WebAssembly, with one backend for all clients. */
import { resolve as resolvePath } from 'node:path'
import { type Logger, logger as loggerCheck } from '../../../core/events.js'
import { checkOptions, integerWithin, invalidOption } from '../../../core/options/check.js'
import { singleFlight } from '../../../core/async.js'
import { identifier } from '../../../core/sql.js'
import { ServerError } from '../../../wire/error-response.js'
import type { Engine, EngineSession, SessionRequest } from '../engine.js'
import { type Backend, directBackend, engineLost, type PgliteLike } from './backend.js'
import { createDumpSource, ensureDataDirectory, lockDataDirectory } from './data-directory.js'
import { createPgliteSession, type PgliteSession } from './pglite-session.js'
import { type Authority, createRoles, lockRoles } from './roles.js'
import {
  CLEAN_ALL,
  CLEAN_SHARED,
  createSeat,
  DEADLY_SHARED,
  loginSql,
  newState,
  type Seat,
  type Setting,
  startupSettings,
} from './session-state.js'
import { createTurns, type Turns } from './turns.js'
import { pgliteVersion, startWorkerBackend } from './worker-thread.js'

export interface PgliteEngineOptions {
  /** How long a client waits for the backend, in milliseconds, from 1 to 3,600,000. Then it gets SQLSTATE 55P03. Default 10,000. */
  lockTimeoutMs?: number
  /**
   * How long a client may be idle in a transaction while others wait, in milliseconds, from 1 to 3,600,000. Then the transaction is rolled
   * back, and the next statement of the client fails with SQLSTATE 25P03. With the caller's own PGlite the limit always applies, because
   * the engine cannot see whether the caller's code waits. Default 5,000.
   */
  idleInTransactionTimeoutMs?: number
  /** Receives log messages of the engine. Default: no logging. */
  logger?: Logger
}

export interface StartedPgliteOptions extends PgliteEngineOptions {
  /** The login roles. `admin` always exists: it owns the database and can create roles, but is not a superuser. */
  roles: readonly string[]
  /** The name of the only database. */
  database: string
  /** The directory for persistent data. Default: the data is in memory, at most 1 GB, and is lost when the engine closes. */
  dataDirectory?: string
  /** The directory that caches a prepared data directory for later starts. Default: `pg-iam` in the user's cache directory. */
  cacheDirectory?: string
  /** The time limit of a statement, in milliseconds. Then PGlite is restarted, and all sessions end. Default 60,000. */
  statementTimeoutMs?: number
}

/**
 * Returns an engine that serves clients from the caller's PGlite in this process, with its extensions and data. The caller may continue
 * to use `db`: each transaction of a client runs in one `db.runExclusive`. Closing the engine does not close `db`.
 *
 * Clients can become `postgres`, the superuser, with dynamic SQL, and a statement that does not end blocks the process. For untrusted
 * clients use `startGateway({ engine: 'pglite' })` or a PostgreSQL server.
 *
 * @param db a `PGlite` (`@electric-sql/pglite` 0.5.14 or later), or an object with its methods `execProtocolRawStream`, `runExclusive`
 * and `exec`
 *
 * @throws PgIamError `ERR_OPTION_INVALID` if `db` is not a PGlite, and for invalid or unknown options.
 */
export async function pgliteEngine(
  db: PgliteLike,
  options: PgliteEngineOptions = {},
): Promise<Engine> {
  for (const method of ['execProtocolRawStream', 'runExclusive', 'exec'] as const) {
    if (typeof (db as Partial<PgliteLike> | null)?.[method] !== 'function')
      throw invalidOption('db', `a PGlite, with a method "${method}"`, db)
  }
  const settings = { ...DEFAULTS, ...checkOptions(options, CHECKS) }
  const backend = directBackend(db)
  const seat = createSeat({
    backend,
    become: setAuthorization,
    clean: CLEAN_SHARED,
    ignored: DEADLY_SHARED,
  })
  let host = newState('', [])
  const turns = createTurns({
    limits: settings,
    acquire: async () => {
      const release = await acquire(db)
      // The caller's code may have changed settings since the last turn.
      host.isDirty = true
      return release
    },
  })
  const leave = (): Promise<void> => seat.enter(host)
  const own = await inTurn(turns, async () => {
    await seat.start()
    const { rows } = await seat.query('SELECT pg_catalog.current_database(), session_user')
    const [[database = null, user = null] = []] = rows
    host = newState(user ?? '', [])
    seat.occupy(host)
    return database ?? ''
  })
  const run: EngineRun = { backend, seat, turns, leave, sessions: new Set() }
  const names = new Set([own])
  const open = sessionOpener(settings.logger)
  let isClosed = false
  return {
    name: 'pglite',
    async prepare({ roles, database }) {
      names.add(database)
      await inTurn(turns, () => createRoles((sql) => seat.query(sql), own, roles))
    },
    async openSession(request) {
      if (isClosed) throw closing()
      return open(run, request, names)
    },
    async close() {
      isClosed = true
      await endSessions(run, closing())
    },
  }
}

/**
 * Starts PGlite in a worker thread and returns an engine that serves any number of clients from it. PGlite has one backend, so only one
 * transaction runs at a time. The engine restores role, settings and prepared statements of a session for its turn. No client is a
 * superuser, and a client can only become roles that its role is a member of.
 *
 * If a statement runs longer than `statementTimeoutMs`, PGlite is restarted and all sessions end. The data in `dataDirectory` is kept;
 * data in memory is lost. docs/gateway.md lists the limitations of PGlite.
 *
 * Rejects with `ERR_PEER_MISSING` without `@electric-sql/pglite`, with `ERR_OPTION_INVALID` for a `dataDirectory` with other content, and
 * with `ERR_GATEWAY_ENGINE` if the directory is in use or PGlite does not start.
 */
export async function startPgliteEngine(options: StartedPgliteOptions): Promise<Engine> {
  const settings = { ...DEFAULTS, ...options }
  const { database, logger } = settings
  const version = await pgliteVersion()
  const dataDirectory =
    options.dataDirectory === undefined ? undefined : resolvePath(options.dataDirectory)
  const dumps = createDumpSource({
    version,
    database,
    cacheDirectory: options.cacheDirectory,
    logger,
  })
  const unlock =
    dataDirectory === undefined ? async () => {} : await lockDataDirectory(dataDirectory)
  let isClosed = false
  let current: StartedRun | undefined
  /** Resolves when the lost thread has released the data directory. */
  let lastEnded: Promise<void> | undefined

  const start = singleFlight(async (): Promise<StartedRun> => {
    const run = await startRun()
    if (isClosed) {
      await run.stop()
      throw closing()
    }
    current = run
    void run.lost.then((reason) => replace(run, reason))
    return run
  })
  const startRun = async (): Promise<StartedRun> => {
    await lastEnded
    if (dataDirectory !== undefined) {
      await ensureDataDirectory(dataDirectory, database, dumps)
      return startInWorker({ ...settings, dataDirectory })
    }
    try {
      return await startInWorker({ ...settings, dump: await dumps.get() })
    } catch {
      // The dump is intact, but it may have been created by a different build with the same version.
      dumps.discard()
      return startInWorker({ ...settings, dump: await dumps.get() })
    }
  }
  const replace = (run: StartedRun, reason: string): void => {
    if (isClosed) return
    current = undefined
    lastEnded = run.ended
    const kept =
      dataDirectory === undefined
        ? 'all data is lost, because it was in memory: set "dataDirectory" to keep it'
        : 'committed data is kept in the data directory'
    logger.error(`pglite: PGlite was stopped and is restarted; ${kept}`, { reason })
    void endSessions(run, engineLost(reason))
    start().then(
      () => logger.info('pglite: PGlite was restarted'),
      (error: unknown) => logger.error('pglite: PGlite could not be restarted', { error }),
    )
  }
  const running = async (): Promise<StartedRun> => {
    if (isClosed) throw closing()
    try {
      return current ?? (await start())
    } catch (error) {
      if (error instanceof ServerError) throw error
      throw new ServerError('57P03', 'PGlite could not be started', { ...FATAL, cause: error })
    }
  }
  try {
    await start()
  } catch (error) {
    await unlock()
    throw error
  }
  const open = sessionOpener(logger)
  const names = new Set([database])
  return {
    name: 'pglite',
    openSession: async (request) => open(await running(), request, names),
    async close() {
      isClosed = true
      // A run that is still starting stops itself when it sees `isClosed`.
      const run = current ?? (await start().catch(() => undefined))
      if (run !== undefined) {
        await endSessions(run, closing())
        await run.stop()
      }
      await unlock()
    },
  }
}

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} }
const DEFAULTS = {
  lockTimeoutMs: 10_000,
  idleInTransactionTimeoutMs: 5_000,
  statementTimeoutMs: 60_000,
  logger: SILENT,
}
const timeout = integerWithin(1, 3_600_000, 'milliseconds')
const CHECKS = {
  lockTimeoutMs: timeout,
  idleInTransactionTimeoutMs: timeout,
  logger: loggerCheck,
} as const
const FATAL = { severity: 'FATAL' } as const
const MAX_COPY_BYTES = 268_435_456

/** One run of PGlite, with its sessions. */
interface EngineRun {
  readonly backend: Backend
  readonly seat: Seat
  readonly turns: Turns
  /** Restores the backend before the turn is released. */
  readonly leave: () => Promise<void>
  readonly sessions: Set<PgliteSession>
}

interface StartedRun extends EngineRun {
  readonly lost: Promise<string>
  readonly ended: Promise<void>
  stop(): Promise<void>
}

interface StartPlace extends StartedPgliteOptions {
  statementTimeoutMs: number
  lockTimeoutMs: number
  idleInTransactionTimeoutMs: number
  dump?: Uint8Array
}

async function startInWorker(place: StartPlace): Promise<StartedRun> {
  const { database, roles, dump, dataDirectory, statementTimeoutMs } = place
  const backend = await startWorkerBackend({ database, dump, dataDirectory, statementTimeoutMs })
  let authority: Authority | undefined
  const seat = createSeat({
    backend,
    become: (role) => authority!.become(role),
    clean: CLEAN_ALL,
  })
  try {
    await seat.start()
    authority = await lockRoles((sql) => seat.query(sql), database, roles)
  } catch (error) {
    await backend.stop(false)
    throw error
  }
  const { release } = authority
  return {
    backend,
    seat,
    turns: createTurns({ limits: place }),
    leave: async () => {},
    sessions: new Set(),
    lost: backend.lost,
    ended: backend.ended,
    async stop() {
      // Data in memory needs no clean shutdown.
      if (dataDirectory !== undefined) await seat.query(release).catch(() => {})
      await backend.stop(dataDirectory !== undefined)
    },
  }
}

/**
 * The first session number. Clients get these numbers as process IDs. They must differ from the process ID of the only backend, which
 * `pg_backend_pid()` returns (42 in PGlite 0.5), so that functions that take a process ID cannot hit it by accident.
 */
const FIRST_SESSION = 1_000

type SessionOpener = (
  run: EngineRun,
  request: SessionRequest,
  databases: ReadonlySet<string>,
) => Promise<EngineSession>

function sessionOpener(logger: Logger): SessionOpener {
  const roles = new Set<string>()
  let sessions = FIRST_SESSION
  return async (run, { role, database, parameters }, databases) => {
    if (!databases.has(database))
      throw new ServerError('3D000', `database "${database}" does not exist`, FATAL)
    const id = sessions++
    const { backend, seat, turns, leave } = run
    const state = newState(role, startupSettings(parameters))
    const session = await inTurn(
      turns,
      async () => {
        await logIn(seat, state)
        return createPgliteSession({
          ...{ id, state, backend, seat, turns, leave },
          maxCopyBytes: MAX_COPY_BYTES,
        })
      },
      leave,
    )
    run.sessions.add(session)
    void session.finished.then(() => run.sessions.delete(session))
    if (!roles.has(role) && roles.add(role).size === 2) {
      logger.warn(
        'pglite: a second role has logged in; all roles share one backend, so do not rely on PGlite to isolate roles',
        { roles: [...roles] },
      )
    }
    return session.stream
  }
}

/** Assigns the backend to a new session. Throws a FATAL `ServerError` if PostgreSQL would refuse the login. */
async function logIn(seat: Seat, state: ReturnType<typeof newState>): Promise<void> {
  const { role, startup } = state
  const enter = async (): Promise<void> => {
    try {
      await seat.enter(state)
    } catch (error) {
      if (!(error instanceof ServerError) || error.severity !== 'ERROR') throw error
      const { rows } = await seat.query(loginSql(role))
      const refused = rows.length === 0 ? noSuchRole(role) : error
      const { sqlState, message, detail, hint } = refused
      throw new ServerError(sqlState, message, {
        ...FATAL,
        ...(detail === undefined ? {} : { detail }),
        ...(hint === undefined ? {} : { hint }),
      })
    }
  }
  await enter()
  const { rows } = await seat.query(loginSql(role))
  const [[canLogIn] = [], ...settings] = rows
  if (canLogIn === undefined) throw noSuchRole(role)
  if (canLogIn !== 'true') {
    seat.forget(state)
    throw new ServerError('28000', `role "${role}" is not permitted to log in`, FATAL)
  }
  if (settings.length === 0) return
  const ofRole = settings.map(([text]): Setting => {
    const equals = text?.indexOf('=') ?? 0
    return [text?.slice(0, equals) ?? '', text?.slice(equals + 1) ?? '']
  })
  seat.forget(state)
  state.startup = [...ofRole, ...startup]
  await enter()
}

function noSuchRole(role: string): ServerError {
  return new ServerError('28000', `role "${role}" does not exist`, FATAL)
}

async function inTurn<T>(
  turns: Turns,
  work: () => Promise<T>,
  leave: () => Promise<void> = async () => {},
): Promise<T> {
  const turn = await turns.ask(() => {}).turn
  try {
    try {
      return await work()
    } finally {
      await leave()
    }
  } finally {
    turn.release()
  }
}

async function endSessions({ sessions }: EngineRun, reason: ServerError): Promise<void> {
  const all = [...sessions]
  for (const session of all) session.terminate(reason)
  await Promise.all(all.map(({ finished }) => finished))
}

function closing(): ServerError {
  return new ServerError('57P01', 'terminating connection due to administrator command', FATAL)
}

function setAuthorization(role: string): string {
  return `SET SESSION AUTHORIZATION ${identifier(role)}`
}

/**
 * Acquires exclusive access to a PGlite that the caller's code also uses. `runExclusive` (0.5.14 to 0.5.17) waits for a running query of
 * that code, but not for its transaction. An empty query waits for the transaction.
 */
async function acquire(db: PgliteLike): Promise<() => void> {
  for (;;) {
    const release = await new Promise<(() => void) | undefined>((resolve, reject) => {
      db.runExclusive(() => {
        if (db.isInTransaction?.() === true) {
          resolve(undefined)
          return Promise.resolve()
        }
        return new Promise<void>((released) => resolve(released))
      }).catch(reject)
    })
    if (release !== undefined) return release
    await db.exec('')
  }
}
