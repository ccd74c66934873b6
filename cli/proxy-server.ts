/** The proxy: accepts plain connections, and logs each of them in to a database with a token. */
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Logger } from '../core/events.js'
import { isPgIamError } from '../core/errors.js'
import { internalsOf, type Login } from '../core/login.js'
import {
  createLimits,
  createReplyTracker,
  type Engine,
  handleConnection,
  type Limits,
  type ServerConnection,
  ServerError,
  type SessionRewriter,
  type TlsCredentials,
  upstreamEngine,
} from '../gateway/index.js'
import {
  type AdvisoryLocks,
  createAdvisoryLocks,
  createLockSession,
  type LockSession,
} from './advisory-locks.js'
import {
  createSettingsDropper,
  type SettingsDropper,
  withoutDroppedParameters,
} from './dropped-settings.js'
import { CommandError, describeFailure, ExitCode, usageError } from './failure.js'
import type { Target } from './target.js'

/** Where clients connect to. */
export type ListenAddress =
  | { readonly host: string; readonly port: number }
  /** The folder of the socket, and the port in its name. */
  | { readonly folder: string; readonly port: number }

/** What the proxy reports about its connections, for metrics and readiness. */
export interface ProxyObserver {
  opened(target: string, seconds: number): void
  closed(target: string): void
  refused(target: string, reason: string): void
  settingDropped(target: string): void
}

export interface ProxyOptions {
  readonly targets: readonly Target[]
  /** Whether the database name of a client is the name of its target, so that all share one port. */
  readonly isByDatabase: boolean
  /** The addresses of the first target. The others have the ports after it. Port 0 selects free ones. */
  readonly addresses: readonly ListenAddress[]
  /** What clients must know; `undefined` lets all of them in. Unix sockets need none. */
  readonly password: string | undefined
  readonly tls?: TlsCredentials
  readonly maxConnections: number
  readonly idleTimeoutMs?: number
  readonly isStrict: boolean
  readonly observer?: ProxyObserver
  readonly logger: Logger
  /** The monotonic clock of idle times, in milliseconds. */
  readonly now?: () => number
}

export interface Proxy {
  /** Where each target is reached. */
  readonly served: readonly ServedTarget[]
  readonly openConnections: number
  /** Whether a new connection would be accepted. */
  readonly isReady: boolean
  /** Logs in to each target once, and out again. Rejects with the first error. */
  check(): Promise<void>
  /** Accepts no more connections, lets open transactions complete for so long, and ends all others. */
  close(drainMs: number): Promise<void>
  /** Ends all connections now, also while `close` waits. */
  abort(): void
}

export interface ServedTarget {
  readonly target: Target
  readonly address: ListenAddress
}

interface Backend {
  readonly target: Target
  /** For logs and metrics. */
  readonly name: string
  readonly locks: AdvisoryLocks
  /** Opens sessions in a database. */
  engineFor(database: string): Promise<Engine>
  close(): Promise<void>
}

/** Rejects with a {@link CommandError} if an address cannot be used. */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const { targets, isByDatabase, addresses, logger } = options
  const backends = targets.map((target) => createBackend(target, options))
  const groups = isByDatabase ? [backends] : backends.map((each) => [each])
  const connections = new Map<Socket, ServerConnection>()
  const servers: Listening[] = []
  const served: ServedTarget[] = []
  let isClosing = false
  let hasWarned = false
  const dropped = new Set<string>()
  const session: SessionSettings = {
    ...options,
    lockTaken() {
      if (hasWarned) return
      hasWarned = true
      logger.warn(
        'an advisory lock is held by this proxy only: Aurora DSQL has none, so other machines and other proxies are not kept out',
      )
    },
    settingDropped(target, setting) {
      options.observer?.settingDropped(target)
      if (dropped.has(setting)) return
      dropped.add(setting)
      logger.warn(`left out the setting "${setting}", which Aurora DSQL does not support`)
    },
  }
  const closeServers = (): Promise<unknown> =>
    Promise.all(servers.map(({ server }) => new Promise((done) => server.close(done))))
  const closeAll = async (): Promise<void> => {
    await closeServers()
    await Promise.all(backends.map((each) => each.close()))
  }
  try {
    for (const [index, group] of groups.entries()) {
      const limits = createLimits({ maxConnections: options.maxConnections })
      for (const first of addresses) {
        const address = { ...first, port: first.port === 0 ? 0 : first.port + index }
        const needsPassword = 'host' in first
        const listening = await listen(address, (socket) => {
          const connection = serve(socket, group, { ...session, needsPassword, limits })
          connections.set(socket, connection)
          socket.once('close', () => connections.delete(socket))
        })
        servers.push(listening)
        listening.server.on('error', (error) => logger.error('the listener failed', { error }))
        for (const { target } of group) served.push({ target, address: listening.address })
      }
    }
  } catch (error) {
    await closeAll()
    throw error
  }
  const abort = (): void => {
    for (const [socket, connection] of connections) {
      connection.end(SHUTDOWN)
      // What could not be written by now has no reader.
      setImmediate(() => socket.destroy())
    }
  }
  return {
    served,
    get openConnections() {
      return connections.size
    },
    get isReady() {
      return !isClosing && connections.size < options.maxConnections * groups.length
    },
    async check() {
      for (const backend of backends) await checkLogin(backend)
    },
    async close(drainMs) {
      isClosing = true
      const stopped = closeServers()
      for (const connection of connections.values()) connection.drain(SHUTDOWN)
      const timer = setTimeout(() => {
        for (const connection of connections.values()) connection.end(SHUTDOWN)
      }, drainMs)
      // A client that does not read its last error must not keep the proxy.
      const last = setTimeout(abort, drainMs + LINGER_MS)
      await Promise.all(
        [...connections.keys()].map((socket) => new Promise((end) => socket.once('close', end))),
      )
      clearTimeout(timer)
      clearTimeout(last)
      await stopped
      await Promise.all(backends.map((each) => each.close()))
    },
    abort,
  }
}

const SHUTDOWN = { code: '57P01', message: 'terminating connection because the proxy is stopping' }
const LINGER_MS = 2_000

// Listeners.

interface Listening {
  readonly server: Server
  readonly address: ListenAddress
}

async function listen(
  address: ListenAddress,
  accept: (socket: Socket) => void,
): Promise<Listening> {
  const server = createServer({ noDelay: true }, accept)
  if ('folder' in address) {
    const path = await prepareSocket(address)
    await startListening(server, { path }, path)
    chmodSync(path, 0o600)
    return { server, address }
  }
  const { host, port } = address
  await startListening(server, { host, port, exclusive: true }, `${host}, port ${port}`)
  return { server, address: { host, port: (server.address() as AddressInfo).port } }
}

function startListening(
  server: Server,
  options: Parameters<Server['listen']>[0],
  place: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const hint =
        cause.code === 'EADDRINUSE'
          ? 'Another program uses it. Choose another one with --port, or 0 for any free port.'
          : undefined
      const message = `could not listen on ${place}`
      reject(new CommandError(message, { cause, ...(hint === undefined ? {} : { hint }) }))
    })
    server.listen(options, () => {
      server.removeAllListeners('error')
      resolve()
    })
  })
}

/** Creates the folder, and removes the socket of a proxy that has died. */
async function prepareSocket({ folder, port }: { folder: string; port: number }): Promise<string> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { mode, uid } = statSync(folder)
  if ((mode & 0o077) !== 0 || (process.getuid !== undefined && uid !== process.getuid()))
    throw usageError(
      `the folder ${folder} must belong to you, and nobody else may enter it`,
      `Run: chmod 700 ${folder}`,
    )
  const path = join(folder, `.s.PGSQL.${port}`)
  if (Buffer.byteLength(path) > 107)
    throw usageError(
      `the path of the socket is too long: ${path}`,
      'Choose a shorter --socket-dir.',
    )
  if (await isInUse(path))
    throw new CommandError(`could not listen on ${path}`, {
      hint: 'Another program uses it. Choose another --port.',
    })
  rmSync(path, { force: true })
  return path
}

function isInUse(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    const settle = (isUsed: boolean): void => {
      socket.destroy()
      resolve(isUsed)
    }
    socket.once('connect', () => settle(true)).once('error', () => settle(false))
  })
}

// Databases.

function createBackend(target: Target, { logger }: ProxyOptions): Backend {
  const { login } = target
  const engines = new Map<string, Promise<Engine>>()
  return {
    target,
    name: target.name ?? login.host,
    locks: createAdvisoryLocks(),
    engineFor(database) {
      const known = engines.get(database)
      if (known !== undefined) return known
      const engine = upstreamEngine(loginTo(login, database), { logger })
      engines.set(database, engine)
      return engine
    },
    async close() {
      await Promise.all([...engines.values()].map(async (engine) => (await engine).close()))
    },
  }
}

/**
 * The same login, for another database of its server. Tokens are not bound to a database, so they and their pace stay those of the login:
 * its internals belong to the object, and are taken along.
 */
function loginTo(login: Login, database: string): Login {
  if (database === login.database) return login
  const descriptors = Object.getOwnPropertyDescriptors(login)
  return Object.freeze(
    Object.defineProperties(
      {},
      { ...descriptors, database: { value: database, enumerable: true } },
    ),
  ) as Login
}

async function checkLogin({ target, engineFor }: Backend): Promise<void> {
  const { login } = target
  const engine = await engineFor(login.database)
  const session = await engine.openSession({
    role: login.user ?? '',
    database: login.database,
    parameters: new Map(),
  })
  await new Promise<void>((resolve) => {
    session.once('close', () => resolve()).on('error', () => {})
    session.resume()
    session.end(TERMINATE)
  })
}

const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4])

// Connections.

interface SessionSettings extends ProxyOptions {
  lockTaken(): void
  settingDropped(target: string, setting: string): void
}

interface ListenerSettings extends SessionSettings {
  readonly needsPassword: boolean
  readonly limits: Limits
}

function serve(
  socket: Socket,
  group: readonly Backend[],
  settings: ListenerSettings,
): ServerConnection {
  const { password, tls, isByDatabase, isStrict, observer, logger, idleTimeoutMs } = settings
  const { needsPassword, limits, now = (): number => performance.now() } = settings
  const startedAt = now()
  let backend: Backend | undefined
  let isOpen = false
  const isChecked = needsPassword && password !== undefined
  const hasRules = (each: Backend | undefined): boolean =>
    !isStrict && each?.target.login.provider === 'aurora-dsql'
  const watch = idleTimeoutMs === undefined ? undefined : createIdleWatch(now)
  let dropper: SettingsDropper | undefined
  let locks: LockSession | undefined

  const connection = handleConnection(socket, {
    ...(tls !== undefined && needsPassword ? { tls } : {}),
    auth: isChecked ? 'scram-sha-256' : 'none',
    ...(isChecked ? { password: () => password } : {}),
    limits,
    logger,
    loginTimeoutMs: loginTimeoutOf(group),
    onAuthenticated({ startup }) {
      const { user, database } = startup!
      backend = isByDatabase ? group.find(({ name }) => name === database) : group[0]
      if (backend === undefined)
        throw new ServerError('3D000', `the proxy has no target "${database}"`, {
          severity: 'FATAL',
          hint: `Connect to one of the databases ${group.map(({ name }) => name).join(', ')}.`,
        })
      refuseOtherUser(backend.target, user)
    },
    async engine({ startup }) {
      const { target } = backend!
      const { user, database } = startup!
      // libpq's default database is the one with the user's name.
      const isDefault = isByDatabase || database === user
      const engine = await backend!.engineFor(isDefault ? target.login.database : database)
      return sessionsOf(engine, backend!, settings)
    },
    ...(group.some(hasRules) || watch !== undefined
      ? {
          rewrite() {
            if (hasRules(backend))
              dropper = createSettingsDropper((name) =>
                settings.settingDropped(backend!.name, name),
              )
            return withWatch(watch, dropper)
          },
        }
      : {}),
    ...(group.some(hasRules)
      ? {
          onMessage: (message: Uint8Array) => locks?.onMessage(message),
          onCancel: () => locks?.cancel(),
        }
      : {}),
    onSession() {
      isOpen = true
      if (dropper !== undefined)
        locks = createLockSession({
          locks: backend!.locks,
          transactionStatus: () => dropper!.transactionStatus,
          taken: settings.lockTaken,
        })
      observer?.opened(backend!.name, (now() - startedAt) / 1_000)
      logger.info('opened a connection', { target: backend!.name })
    },
    onRefused({ error, reason, explanation }) {
      observer?.refused(backend?.name ?? '', error?.sqlState ?? reason)
      logger.debug(`refused a connection: ${error?.message ?? explanation}`)
    },
  })
  const stopWatching = watch && endWhenIdle(watch, connection, idleTimeoutMs!, now)
  void connection.closed.then((error) => {
    stopWatching?.()
    locks?.close()
    if (!isOpen) return
    observer?.closed(backend!.name)
    logger.info('closed a connection', { target: backend!.name, ...(error && { error }) })
  })
  return connection
}

/** Longer than the time limits of the logins, which have the better errors. */
function loginTimeoutOf(group: readonly Backend[]): number {
  const longest = group.map(({ target }) => internalsOf(target.login)?.connectTimeoutMs ?? 30_000)
  return Math.min(600_000, Math.max(...longest) + 20_000)
}

/** A tool that believes to be another user would do more, or less, than it should. */
function refuseOtherUser({ login }: Target, user: string): void {
  if (login.user === undefined || user === login.user) return
  throw new ServerError('28000', `the proxy logs in as "${login.user}", not as "${user}"`, {
    severity: 'FATAL',
    hint: `Connect as the user ${login.user}.`,
  })
}

/** Opens sessions without the settings that the database refuses, and explains why one could not be opened. */
function sessionsOf(
  engine: Engine,
  { target, name }: Backend,
  { isStrict, settingDropped }: SessionSettings,
): Engine {
  const isDsql = !isStrict && target.login.provider === 'aurora-dsql'
  return {
    name: 'proxy',
    async openSession(request) {
      const parameters = isDsql
        ? withoutDroppedParameters(request.parameters, (setting) => settingDropped(name, setting))
        : request.parameters
      try {
        return await engine.openSession({ ...request, parameters })
      } catch (error) {
        throw forTool(error)
      }
    },
    close: async () => {},
  }
}

/** An error of the server is passed on. For others the tool gets what the command would print. */
function forTool(error: unknown): unknown {
  const { cause } = Object(error) as { cause?: unknown }
  if (error instanceof ServerError && cause === undefined) return error
  const { message, hint, exitCode } = describeFailure(error)
  const sqlState = exitCode === ExitCode.noToken ? '28000' : '08006'
  return new ServerError(sqlState, message, {
    severity: 'FATAL',
    ...(hint === undefined || isPgIamError(cause, 'ERR_PEER_MISSING') ? {} : { hint }),
    cause,
  })
}

// Idle sessions.

interface IdleWatch {
  sent(): void
  received(chunk: Buffer): void
  /** Whether the client has nothing to wait for, and no transaction. */
  readonly isIdle: boolean
  /** When something passed, in either direction. */
  readonly activeAt: number
}

function createIdleWatch(now: () => number): IdleWatch {
  let isWaiting = true
  let activeAt = now()
  const tracker = createReplyTracker((type) => {
    if (type === READY_FOR_QUERY) isWaiting = false
  })
  return {
    sent() {
      isWaiting = true
      activeAt = now()
    },
    received(chunk) {
      activeAt = now()
      tracker.push(chunk)
    },
    get isIdle() {
      return !isWaiting && tracker.transactionStatus === IDLE
    },
    get activeAt() {
      return activeAt
    },
  }
}

const READY_FOR_QUERY = 'Z'.charCodeAt(0)
const IDLE = 'I'.charCodeAt(0)

function withWatch(
  watch: IdleWatch | undefined,
  inner: SessionRewriter | undefined,
): SessionRewriter {
  return {
    toEngine(messages) {
      watch?.sent()
      return inner === undefined ? messages : inner.toEngine(messages)
    },
    toClient(chunk) {
      watch?.received(chunk)
      return inner === undefined ? { bytes: chunk, isCut: false } : inner.toClient(chunk)
    },
  }
}

/** Ends the connection with PostgreSQL's error. Returns the function that stops to watch. */
function endWhenIdle(
  watch: IdleWatch,
  connection: ServerConnection,
  idleTimeoutMs: number,
  now: () => number,
): () => void {
  let timer: NodeJS.Timeout | undefined
  const look = (): void => {
    const left = watch.isIdle ? watch.activeAt + idleTimeoutMs - now() : idleTimeoutMs
    if (left > 0) timer = setTimeout(look, left)
    // A statement that was sent meanwhile is completed.
    else connection.drain(IDLE_TIMEOUT)
  }
  timer = setTimeout(look, idleTimeoutMs)
  return () => clearTimeout(timer)
}

const IDLE_TIMEOUT = {
  code: '57P05',
  message: 'terminating connection due to idle-session timeout',
}
