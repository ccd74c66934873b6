/** Starts a PostgreSQL server, restarts it if it crashes, and ends it with this process. */
import { once } from 'node:events'
import { readFile, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isPgIamError, PgIamError } from '../../../core/errors.js'
import type { Logger } from '../../../core/events.js'
import { BackendType, cString, FrontendType, encodeMessage } from '../../../wire/messages.js'
import { PacketReader } from '../../../wire/framing.js'
import { ServerError } from '../../../wire/error-response.js'
import { dialUpstream, logInUpstream, readMessage } from '../upstream.js'
import {
  type Cluster,
  keptCluster,
  type KeptDirectory,
  openKeptDirectory,
  SUPERUSER,
  temporaryCluster,
  writeForServer,
} from './data-directory.js'
import {
  findPostgres,
  type FindPostgresOptions,
  type PostgresPrograms,
  serverUser,
  type ServerUser,
} from './postgres-programs.js'
import { startSupervisor, type Supervisor, type SupervisorOptions } from './supervisor.js'

export interface LaunchOptions {
  /** The directory for persistent data. Default: a temporary one. */
  readonly dataDirectory?: string | undefined
  readonly cacheDirectory?: string | undefined
  readonly logger: Logger
  /** Additional settings for `postgresql.conf`, such as `{ idle_session_timeout: '2s' }`. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /**
   * Whether the server also listens on 127.0.0.1, where roles log in with their passwords (SCRAM). Default `false`. Always `true` on
   * Windows, where Node has no Unix sockets.
   */
  readonly hasTcp?: boolean | undefined
  /** Whether the server listens on a Unix socket. Default `true`, but `false` on Windows. */
  readonly hasSocket?: boolean | undefined
  /** The server's certificate and private key as PEM text, for TLS over TCP. */
  readonly tls?: { readonly certificate: string; readonly privateKey: string } | undefined
  /** Lines of `pg_hba.conf` before the generated ones. The first line that matches a connection determines its authentication. */
  readonly accessRules?: readonly string[] | undefined
  readonly isPackageOnly?: boolean | undefined
  readonly places?: FindPostgresOptions['places']
  readonly supervisor?: SupervisorOptions['kind']
}

export interface LaunchedPostgres {
  readonly programs: PostgresPrograms
  /** The host to connect to: the directory of the Unix socket, or `127.0.0.1`. */
  readonly host: string
  readonly port: number
  /** Contains the Unix socket and the logs. Only root and the server's user can access it. */
  readonly directory: string
  /** Runs SQL as the superuser. Resolves with the rows of all statements, as text. Rejects with the server's `ServerError`. */
  query(database: string, sql: string): Promise<(string | null)[][]>
  /** Resolves when the server accepts sessions, immediately or after a restart. Rejects with `ERR_GATEWAY_ENGINE` if a restart failed. */
  ready(): Promise<void>
  /** Stops the server and removes its files. Resolves when both are done; may be called repeatedly. */
  close(): Promise<void>
}

/** Enough for a gateway on a laptop. PostgreSQL reserves shared memory for each connection. */
export const MAX_CONNECTIONS = 200

const SETTINGS = {
  default_text_search_config: 'pg_catalog.english',
  log_checkpoints: 'off',
  log_destination: 'stderr',
  log_line_prefix: '',
  // The log file is for messages of the server itself, not for errors of clients.
  log_min_error_statement: 'panic',
  log_min_messages: 'log',
  log_timezone: 'UTC',
  logging_collector: 'off',
  max_connections: String(MAX_CONNECTIONS),
  shared_buffers: '32MB',
  timezone: 'UTC',
}

/** Temporary data need not be flushed to disk. If the server is killed, the operating system still has the written data. */
const TEMPORARY = { fsync: 'off', full_page_writes: 'off', max_wal_size: '256MB' }

const STARTUP_TIMEOUT_MS = 60_000
const PORT_ATTEMPTS = 10
const POLL_MS = 10
const CONNECT_TIMEOUT_MS = 10_000
/** The port in the name of the socket file. The directory has no other sockets. */
const SOCKET_PORT = 5432
/** Limits restarts of a server that crashes at every start. */
const MAX_RESTARTS = 5
const RESTARTS_WITHIN_MS = 60_000
/** Processes of a killed server take time to end. Until then a new server cannot start, because they use its shared memory. */
const OLD_PROCESSES_TIMEOUT_MS = 15_000

/**
 * Starts a server. Resolves with `undefined` if no PostgreSQL is found.
 *
 * The server is stopped and its temporary files are removed when `close` is called, and when this process ends for any reason, including
 * SIGKILL.
 *
 * Rejects with `ERR_GATEWAY_ENGINE` and the server's log if it does not start, and with `ERR_OPTION_INVALID` if `dataDirectory` cannot be
 * used.
 */
export async function launchPostgres(
  options: LaunchOptions,
): Promise<LaunchedPostgres | undefined> {
  const user = await serverUser()
  const kept =
    options.dataDirectory === undefined
      ? undefined
      : await openKeptDirectory(options.dataDirectory, user)
  try {
    return await launch(options, user, kept)
  } finally {
    kept?.release()
  }
}

async function launch(
  options: LaunchOptions,
  user: ServerUser | undefined,
  kept: KeptDirectory | undefined,
): Promise<LaunchedPostgres | undefined> {
  const supervisor = await startSupervisor({
    user,
    inherited: kept?.descriptor,
    kind: options.supervisor,
  })
  try {
    const { directory } = supervisor
    const programs = await findPostgres({ ...options, user, scratchDirectory: directory })
    if (programs === undefined) {
      await supervisor.close()
      return undefined
    }
    const settings = {
      ...options,
      cacheDirectory: options.cacheDirectory,
      supervisor,
      programs,
      user,
    }
    const cluster =
      kept === undefined ? await temporaryCluster(settings) : await keptCluster(kept, settings)
    const server = createServerRun({ options, supervisor, programs, user, cluster, kept })
    await server.start()
    supervisor.unref()
    return server.launched
  } catch (error) {
    await supervisor.close()
    throw error
  }
}

interface RunSettings {
  readonly options: LaunchOptions
  readonly supervisor: Supervisor
  readonly programs: PostgresPrograms
  readonly user: ServerUser | undefined
  readonly cluster: Cluster
  readonly kept: KeptDirectory | undefined
}

/** Starts the server, and restarts it when it ends unexpectedly. */
function createServerRun(run: RunSettings): {
  start(): Promise<void>
  launched: LaunchedPostgres
} {
  const { options, supervisor, programs, cluster, kept } = run
  const { logger } = options
  const { directory } = supervisor
  const isWindows = process.platform === 'win32'
  const hasSocket = options.hasSocket ?? !isWindows
  const hasTcp = !hasSocket || (options.hasTcp ?? false)
  const host = hasSocket ? directory : '127.0.0.1'
  let port = SOCKET_PORT
  /** Whether the last started server has ended. */
  let hasEnded = false
  let wake: (() => void) | undefined
  let isStarting = true
  let closing: Promise<void> | undefined
  let restarts: number[] = []
  let readiness: Promise<void> = Promise.resolve()

  const login = (database: string): Promise<Socket> =>
    logInAsSuperuser({ host, port, password: hasSocket ? undefined : cluster.password }, database)

  const startOnce = async (): Promise<void> => {
    hasEnded = false
    await configure(run, { hasSocket, hasTcp, port })
    await supervisor.start(programs.directory, cluster.data, kept ? 'fast' : 'immediate')
    const deadline = performance.now() + STARTUP_TIMEOUT_MS
    for (;;) {
      if (hasEnded) throw await startError(supervisor, kept)
      try {
        await quit(await login('template1'))
        return
      } catch (error) {
        const isTooSoon =
          error instanceof ServerError ? error.sqlState === '57P03' : !isPgIamError(error) // A network error: the server does not listen yet.
        if (!isTooSoon) throw error
      }
      if (performance.now() > deadline)
        throw new PgIamError(
          'ERR_GATEWAY_ENGINE',
          `PostgreSQL was still starting up after ${STARTUP_TIMEOUT_MS / 1000} seconds`,
        )
      // The server does not announce that it is ready, so it has to be polled.
      await Promise.race([delay(POLL_MS), new Promise<void>((resolve) => (wake = resolve))])
    }
  }
  /** Another process may take the free port before the server binds it, so a conflict is retried with another port. */
  const startOnFreePort = async (): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      port = await freePort()
      try {
        return await startOnce()
      } catch (error) {
        const isTaken = String(error).includes('Address already in use')
        if (!isTaken || attempt === PORT_ATTEMPTS) throw error
      }
    }
  }
  const restart = async (): Promise<void> => {
    const log = await readLog(supervisor, 'server.log')
    logger.error('gateway: PostgreSQL ended unexpectedly and is being restarted', { log })
    const now = performance.now()
    restarts = [...restarts.filter((at) => now - at < RESTARTS_WITHIN_MS), now]
    if (restarts.length > MAX_RESTARTS)
      throw new PgIamError(
        'ERR_GATEWAY_ENGINE',
        `PostgreSQL ended unexpectedly ${MAX_RESTARTS + 1} times within a minute: ${log}`,
      )
    isStarting = true
    try {
      for (;;) {
        try {
          return await startOnce()
        } catch (error) {
          const isOldServerEnding =
            /pre-existing shared memory block|lock file "postmaster.pid"/.test(
              String((error as Error).cause ?? error),
            )
          if (closing || !isOldServerEnding || performance.now() - now > OLD_PROCESSES_TIMEOUT_MS)
            throw error
          await delay(POLL_MS * 5)
        }
      }
    } finally {
      isStarting = false
    }
  }
  const onEnd = (): void => {
    hasEnded = true
    wake?.()
    if (isStarting || closing) return
    readiness = restart()
    readiness.then(
      () => logger.info('gateway: PostgreSQL accepts sessions again'),
      (error: unknown) => {
        if (!closing) logger.error('gateway: PostgreSQL could not be restarted', { error })
      },
    )
  }
  supervisor.onServerEnd(onEnd)
  supervisor.onLost(() => {
    if (closing) return
    closing = Promise.resolve()
    readiness = Promise.reject(
      new PgIamError('ERR_GATEWAY_ENGINE', 'the supervisor process of PostgreSQL was killed'),
    )
    readiness.catch(() => {})
    logger.error('gateway: the supervisor process of PostgreSQL was killed; stopping the server')
    void endWithoutSupervisor(directory)
  })

  return {
    async start() {
      await (hasTcp ? startOnFreePort() : startOnce())
      isStarting = false
    },
    launched: {
      programs,
      host,
      directory,
      get port() {
        return port
      },
      ready: () => readiness,
      async query(database, sql) {
        const socket = await login(database)
        try {
          return await runSql(socket, sql)
        } finally {
          await quit(socket)
        }
      },
      close: () => (closing ??= supervisor.close()),
    },
  }
}

/** Does what the supervisor would have done. */
async function endWithoutSupervisor(directory: string): Promise<void> {
  const pid = Number(await readFile(join(directory, 'server.pid'), 'utf8').catch(() => ''))
  try {
    if (pid > 1) process.kill(pid, 'SIGQUIT')
  } catch {
    // The server has already ended.
  }
  await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
}

async function configure(
  { options, supervisor, cluster, user, kept }: RunSettings,
  { hasSocket, hasTcp, port }: { hasSocket: boolean; hasTcp: boolean; port: number },
): Promise<void> {
  const { directory } = supervisor
  const write = (name: string, content: string): Promise<void> =>
    writeForServer(join(directory, name), content, user)
  const inDirectory = (name: string): string => join(directory, name).replaceAll('\\', '/')
  const tls =
    options.tls === undefined
      ? {}
      : { ssl: 'on', ssl_cert_file: inDirectory(CERTIFICATE), ssl_key_file: inDirectory(KEY) }
  if (options.tls !== undefined) {
    await write(CERTIFICATE, options.tls.certificate)
    await write(KEY, options.tls.privateKey)
  }
  const rules = [
    ...(options.accessRules ?? []),
    // Access is limited by the permissions of the directory that contains the socket.
    ...(hasSocket ? ['local all all trust'] : []),
    'host all all 127.0.0.1/32 scram-sha-256',
  ]
  await write('pg_hba.conf', `${rules.join('\n')}\n`)
  const settings = {
    ...SETTINGS,
    ...(kept === undefined ? TEMPORARY : {}),
    hba_file: inDirectory('pg_hba.conf'),
    listen_addresses: hasTcp ? '127.0.0.1' : '',
    password_encryption: 'scram-sha-256',
    port: String(port),
    unix_socket_directories: hasSocket ? directory : '',
    ...tls,
    ...options.settings,
  }
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
  )
  // The file that initdb created contains the kind of shared memory that works on this system.
  const initdbFile = `${cluster.data.replaceAll('\\', '/')}/postgresql.conf`
  await write(
    'postgresql.conf',
    [`include_if_exists = '${initdbFile.replaceAll("'", "''")}'\n`, ...lines].join(''),
  )
}

const CERTIFICATE = 'server.crt'
const KEY = 'server.key'

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not a TCP address')
  server.close()
  await once(server, 'close')
  return address.port
}

async function startError(supervisor: Supervisor, kept: KeptDirectory | undefined): Promise<Error> {
  const log = await readLog(supervisor, 'server.log')
  const cause = new Error(log)
  if (kept !== undefined && log.includes('lock file "postmaster.pid" already exists'))
    return new PgIamError(
      'ERR_GATEWAY_ENGINE',
      `"dataDirectory" ${kept.path} is in use by another PostgreSQL server`,
      { cause, retryable: true, hint: 'Use a separate directory for each gateway.' },
    )
  return new PgIamError('ERR_GATEWAY_ENGINE', `PostgreSQL did not start: ${log}`, { cause })
}

async function readLog({ directory }: Supervisor, name: string): Promise<string> {
  const log = await readFile(join(directory, name), 'utf8').catch(() => 'no log was written')
  return log.trim().slice(-4_000)
}

interface Address {
  readonly host: string
  readonly port: number
  readonly password: string | undefined
}

/**
 * Overrides the settings that the owner of a database can define for it, such as a search path with the owner's functions, a role or
 * read-only transactions. They must not affect the superuser.
 */
const SUPERUSER_SETTINGS = [
  'search_path=pg_catalog',
  'role=none',
  'default_transaction_read_only=off',
  'statement_timeout=0',
  'lock_timeout=0',
  'client_min_messages=error',
]

async function logInAsSuperuser(
  { host, port, password }: Address,
  database: string,
): Promise<Socket> {
  const socket = await dialUpstream({ host, port }, CONNECT_TIMEOUT_MS)
  const timer = setTimeout(() => socket.destroy(), CONNECT_TIMEOUT_MS)
  socket.on('error', () => {})
  try {
    await logInUpstream(socket, {
      parameters: new Map([
        ['user', SUPERUSER],
        ['database', database],
        ['options', SUPERUSER_SETTINGS.map((setting) => `-c ${setting}`).join(' ')],
        ['client_encoding', 'UTF8'],
        ['application_name', 'pg-iam gateway'],
      ]),
      password,
      allowsCleartext: false,
    })
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

async function quit(socket: Socket): Promise<void> {
  if (socket.destroyed) return
  const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()))
  socket.end(encodeMessage(FrontendType.terminate))
  socket.resume()
  await closed
}

/** Runs a simple query and reads it to its end. */
async function runSql(socket: Socket, sql: string): Promise<(string | null)[][]> {
  const reader = new PacketReader(socket)
  socket.write(encodeMessage(FrontendType.query, cString(sql)))
  const rows: (string | null)[][] = []
  let failure: unknown
  for (;;) {
    const received = await readMessage(reader).catch((error: unknown) => {
      if (!(error instanceof ServerError)) throw error
      failure ??= error
      return undefined
    })
    if (received?.[0] === DATA_ROW) rows.push(columnsOf(received))
    if (received?.[0] !== BackendType.readyForQuery) continue
    if (failure !== undefined) throw failure
    return rows
  }
}

const DATA_ROW = 'D'.charCodeAt(0)

function columnsOf(row: Buffer): (string | null)[] {
  const columns: (string | null)[] = []
  for (let offset = 7; offset < row.length;) {
    const length = row.readInt32BE(offset)
    offset += 4
    columns.push(length < 0 ? null : row.toString('utf8', offset, offset + length))
    offset += Math.max(length, 0)
  }
  return columns
}
