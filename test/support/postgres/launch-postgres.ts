/** A real PostgreSQL server for tests, which needs nothing on the machine and leaves nothing on it. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFile, chown, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Client, escapeIdentifier, escapeLiteral } from 'pg'
import { asUnsigned } from './copy-package-binaries.js'
import { findBinaries, type BinarySource } from './find-binaries.js'
import { startGuard, type Guard } from './guard.js'
import { serverUser, type ServerUser } from './server-user.js'
import { waitForStartup } from './startup-probe.js'

export interface LaunchPostgresOptions {
  /** Login roles to create; each may create objects in schema `public`. Default none but the superuser. */
  roles?: readonly string[]
  /** A database to create for the tests. Default `postgres`, which every server has. */
  database?: string
  /** Further settings of `postgresql.conf`, such as `{ idle_session_timeout: '2s' }`. */
  settings?: Readonly<Record<string, string>>
  /** Its certificate and private key as PEM text, for TLS of its own over TCP. Default none, and no TLS. */
  tls?: { readonly certificate: string; readonly privateKey: string }
  /** Lines of `pg_hba.conf` that come before its own: the first that fits a connection decides how it logs in. */
  accessRules?: readonly string[]
  /** Where the programs come from. Default `machine-or-npm`; `PG_BINDIR` may name their directory. */
  binaries?: BinarySource
}

export interface PostgresServer {
  /** `127.0.0.1`, where every role logs in with {@link password} (SCRAM). */
  readonly host: string
  readonly port: number
  /** Holds the Unix socket, where every role logs in without a password; only root and the server's user can enter it. */
  readonly socketDirectory: string
  readonly database: string
  readonly superuser: string
  /** The password of every role for logins over TCP, made for this server. */
  readonly password: string
  /** Where its programs are: `postgres`, `initdb`, and `psql` only where the machine has it. */
  readonly binDirectory: string
  /** Ends the server at once and removes its files. Resolves when both are gone; may be called again. */
  close(): Promise<void>
}

const SUPERUSER = 'postgres'
const PORT_ATTEMPTS = 10
const STARTUP_TIMEOUT_MS = 60_000

/** Nothing in a test server is worth a disk write, and many servers share one machine. */
const SETTINGS = {
  autovacuum: 'off',
  fsync: 'off',
  full_page_writes: 'off',
  log_timezone: 'UTC',
  max_connections: '200',
  max_wal_size: '256MB',
  shared_buffers: '16MB',
  synchronous_commit: 'off',
  timezone: 'UTC',
}

/**
 * Starts a PostgreSQL server of its own for the calling test, with an empty database.
 *
 * The server ends and its directory goes when `close` is called and also when this process ends in any way, SIGKILL included.
 */
export async function launchPostgres(options: LaunchPostgresOptions = {}): Promise<PostgresServer> {
  const user = await serverUser()
  const guard = await startGuard(user)
  try {
    const { directory } = guard
    const binDirectory = await findBinaries(options.binaries ?? 'machine-or-npm', directory, user)
    if ((await guard.initdb(binDirectory)) !== 0) throw await startError(guard, 'initdb.log')
    const data = join(directory, 'data')
    await configure(directory, {
      ...(options.tls === undefined ? {} : await installTls(data, options.tls, user)),
      ...options.settings,
    })
    await prependTo(join(data, 'pg_hba.conf'), options.accessRules ?? [])
    const port = await startOnFreePort(guard)
    await waitForStartup(join(directory, `.s.PGSQL.${port}`), SUPERUSER, STARTUP_TIMEOUT_MS)

    const password = randomBytes(16).toString('hex')
    const database = options.database ?? 'postgres'
    await createRolesAndDatabase({ host: directory, port }, options.roles ?? [], database, password)
    guard.unref()
    return {
      host: '127.0.0.1',
      port,
      socketDirectory: directory,
      database,
      superuser: SUPERUSER,
      password,
      binDirectory,
      close: () => guard.close(),
    }
  } catch (error) {
    await guard.close()
    throw error
  }
}

async function configure(
  directory: string,
  given: Readonly<Record<string, string>> = {},
): Promise<void> {
  const settings = {
    ...SETTINGS,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: directory,
    ...given,
  }
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
  )
  await appendFile(join(directory, 'data', 'postgresql.conf'), lines.join(''))
}

/** Resolves with the settings that turn it on. The server wants a key that is its user's own, and closed to everybody else. */
async function installTls(
  data: string,
  { certificate, privateKey }: NonNullable<LaunchPostgresOptions['tls']>,
  user: ServerUser | undefined,
): Promise<Readonly<Record<string, string>>> {
  for (const [name, text] of Object.entries({ [CERTIFICATE]: certificate, [KEY]: privateKey })) {
    const file = join(data, name)
    await writeFile(file, text, { mode: 0o600 })
    if (user !== undefined) await chown(file, asUnsigned(user.uid), asUnsigned(user.gid))
  }
  return { ssl: 'on', ssl_cert_file: CERTIFICATE, ssl_key_file: KEY }
}

const CERTIFICATE = 'server.crt'
const KEY = 'server.key'

async function prependTo(file: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return
  // Its owner stays the server's user, as the file is not made anew.
  await writeFile(file, [...lines, await readFile(file, 'utf8')].join('\n'))
}

/** A port found free may be taken by the time the server binds it, so a refused one is followed by another. */
async function startOnFreePort(guard: Guard): Promise<number> {
  for (let attempt = 1; attempt <= PORT_ATTEMPTS; attempt++) {
    const port = await freePort()
    if ((await guard.start(port)) === 0) return port
    const error = await startError(guard, 'server.log')
    if (!error.message.includes('Address already in use')) throw error
  }
  throw new Error(`could not find a free TCP port in ${PORT_ATTEMPTS} attempts`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not a TCP address')
  server.close()
  await once(server, 'close')
  return address.port
}

async function startError({ directory }: Guard, logFile: string): Promise<Error> {
  const log = await readFile(join(directory, logFile), 'utf8').catch(() => 'no log was written')
  return new Error(`PostgreSQL did not start: ${log.trim()}`)
}

async function createRolesAndDatabase(
  socket: { host: string; port: number },
  roles: readonly string[],
  database: string,
  password: string,
): Promise<void> {
  const logins = roles.filter((role) => role !== SUPERUSER).map((role) => escapeIdentifier(role))
  const secret = escapeLiteral(password)
  const statements = [
    `ALTER ROLE ${escapeIdentifier(SUPERUSER)} PASSWORD ${secret}`,
    ...logins.map((role) => `CREATE ROLE ${role} LOGIN PASSWORD ${secret}`),
  ]
  if (database !== 'postgres') statements.push(`CREATE DATABASE ${escapeIdentifier(database)}`)
  await execute(socket, 'postgres', statements)
  // Since PostgreSQL 15 nobody but the owner may create in schema public.
  await execute(
    socket,
    database,
    logins.map((role) => `GRANT CREATE ON SCHEMA public TO ${role}`),
  )
}

async function execute(
  socket: { host: string; port: number },
  database: string,
  statements: string[],
): Promise<void> {
  const client = new Client({ ...socket, user: SUPERUSER, database, ssl: false })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}
