/** The engine that is PGlite: PostgreSQL in WebAssembly, with one backend for all clients. */
import { resolve as resolvePath } from 'node:path'
import { type Logger, logger as loggerCheck } from '../../../core/events.js'
import { checkOptions, integerWithin, invalidOption } from '../../../core/options/check.js'
import { singleFlight } from '../../../core/async.js'
import { identifier } from '../../sql.js'
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
  /** How long a client waits for its turn, in milliseconds, from 1 to 3,600,000. Then it reads SQLSTATE 55P03. Default 10,000. */
  lockTimeoutMs?: number
  /**
   * How long a client may be idle in a transaction while others wait, in milliseconds, from 1 to 3,600,000. Then the transaction is rolled
   * back, and the client reads SQLSTATE 25P03 with its next statement. With a PGlite of your own it counts always: your code may wait,
   * which the engine cannot see. Default 5,000.
   */
  idleInTransactionTimeoutMs?: number
  /** Where the engine says what happens to it. Default: nowhere. */
  logger?: Logger
}

export interface StartedPgliteOptions extends PgliteEngineOptions {
  /** The login roles. `admin` always exists: it owns the database, can create roles, and is no superuser. */
  roles: readonly string[]
  /** The name of the one database. */
  database: string
  /** Where the data is kept, on disk. Default: in memory, where it ends with the engine, and 1 GB is the most. */
  dataDirectory?: string
  /** Where a prepared data directory is kept for later starts. Default: `pg-iam` in the user's cache folder. */
  cacheDirectory?: string
  /** How long a statement may run, in milliseconds. Then PGlite is ended, with all sessions, and started again. Default 60,000. */
  statementTimeoutMs?: number
}

/**
 * Returns an engine that serves clients from a PGlite of your own, in this process, with its extensions and its data. Your code may go on
 * using it beside the clients: each of their transactions is one turn of `db.runExclusive`. `db` is not closed with the engine.
 *
 * @param db a `PGlite` (`@electric-sql/pglite` 0.5.14 or later), or an object with its methods `execProtocolRawStream`, `runExclusive`
 * and `exec`
 *
 * Its clients are not kept from becoming `postgres`, its superuser, by dynamic SQL; a statement that does not end blocks the process. For
 * clients that you do not trust use `startGateway({ engine: 'pglite' })`, or a PostgreSQL server.
 *
 * @throws PgIamError `ERR_OPTION_INVALID` for what is no PGlite, and for options that are wrong or unknown.
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
      // What your code has set since the last turn is not known.
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
 * Starts PGlite in a worker thread and returns an engine that serves any number of clients from it. There is one backend underneath:
 * transactions take turns, and each session finds its own role, settings and prepared statements when its turn comes. No client is
 * superuser, and none can become another role than those that it is a member of.
 *
 * A statement that runs for longer than `statementTimeoutMs` ends PGlite, with all sessions, and it is started again: with the data in
 * `dataDirectory`, or else without data. docs/gateway.md has the list of what PGlite cannot do.
 *
 * Rejects with `ERR_PEER_MISSING` without `@electric-sql/pglite`, with `ERR_OPTION_INVALID` for a `dataDirectory` that holds
 * something else, and with `ERR_GATEWAY_ENGINE` when the directory is in use or PGlite does not start.
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
  /** The thread that was lost must not have the data directory any more. */
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
      // Whole as it is, the dump may come from a PGlite that was put in the place of this one.
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
        ? 'all data is lost, since it was kept in memory: give "dataDirectory" to keep it'
        : 'what was committed is kept in the data directory'
    logger.error(`pglite: PGlite was ended and is started again; ${kept}`, { reason })
    void endSessions(run, engineLost(reason))
    start().then(
      () => logger.info('pglite: PGlite was started again'),
      (error: unknown) => logger.error('pglite: PGlite could not be started again', { error }),
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
      // One that is just starting stops itself.
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

/** One life of a PGlite, with the sessions that end with it. */
interface EngineRun {
  readonly backend: Backend
  readonly seat: Seat
  readonly turns: Turns
  /** What is done with the backend before others get the turn. */
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
      // What is in memory need not be in order.
      if (dataDirectory !== undefined) await seat.query(release).catch(() => {})
      await backend.stop(dataDirectory !== undefined)
    },
  }
}

/**
 * The numbers of the sessions are the process IDs that clients get. That of the one backend, which `pg_backend_pid()` returns, is below
 * (42 in PGlite 0.5): a function that takes a process ID must not hit it by the number of a session.
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
        'pglite: a second role has logged in; all roles share one backend, so do not rely on PGlite to keep them apart',
        { roles: [...roles] },
      )
    }
    return session.stream
  }
}

/** Gives the backend to a new session. Throws a FATAL `ServerError` where PostgreSQL would refuse the login. */
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
 * Takes PGlite from the code that shares it. `runExclusive` waits for a query of that code and not for its transaction (0.5.14 to 0.5.17),
 * which is waited for by a query that does nothing.
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
