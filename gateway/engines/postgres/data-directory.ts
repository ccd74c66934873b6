/** The data directory of a PostgreSQL server that the gateway starts: a temporary one, or a persistent one of the user. */
import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  fchownSync,
  ftruncateSync,
  lchownSync,
  mkdirSync,
  openSync,
  writeFileSync,
} from 'node:fs'
import {
  chmod,
  lchown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setImmediate as immediate } from 'node:timers/promises'
import { PgIamError } from '../../../core/errors.js'
import type { Logger } from '../../../core/events.js'
import { cacheFolders, readCached, writeCached } from '../cache-folder.js'
import { asUnsigned, type PostgresPrograms, type ServerUser } from './postgres-programs.js'
import type { Supervisor } from './supervisor.js'

/** The superuser of the databases. Only the engine logs in as it. The name must not begin with `pg_`, which PostgreSQL reserves. */
export const SUPERUSER = 'pgiam_superuser'

export interface Cluster {
  /** The path of the data directory for the server. */
  readonly data: string
  /** The password of {@link SUPERUSER}, for logins over TCP. It is stored in the data directory. */
  readonly password: string
}

export interface ClusterSettings {
  readonly supervisor: Supervisor
  readonly programs: PostgresPrograms
  readonly user: ServerUser | undefined
  readonly cacheDirectory: string | undefined
  readonly logger: Logger
}

/** Creates a data directory that the supervisor removes when it ends. */
export async function temporaryCluster(settings: ClusterSettings): Promise<Cluster> {
  const data = join(settings.supervisor.directory, 'data')
  const cached = await readCachedCluster(settings)
  if (cached === undefined) await initialize(data, settings)
  else await unpack(cached, data, settings.user)
  return { data, ...(await readMarker(data)) }
}

/** A persistent directory of the user, opened before the supervisor starts. */
export interface KeptDirectory {
  readonly path: string
  /** The path of the directory for the server. */
  readonly serverPath: string
  /** The file descriptor that the server must inherit for this path. */
  readonly descriptor: number | undefined
  release(): void
}

/**
 * Creates the directory if it does not exist, and makes it accessible to the server's user.
 *
 * Root's server runs as another user, which may not have access to the parent directories; `mkdtemp` creates directories for their owner
 * only. On Linux the server inherits a descriptor of the open directory and uses its path in /proc.
 */
export async function openKeptDirectory(
  given: string,
  user: ServerUser | undefined,
): Promise<KeptDirectory> {
  const path = resolve(given)
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    if (!(await stat(path)).isDirectory()) throw new Error('it is not a directory')
  } catch (cause) {
    throw new PgIamError('ERR_OPTION_INVALID', `"dataDirectory" ${path} cannot be used`, { cause })
  }
  if (user === undefined || process.platform !== 'linux')
    return { path, serverPath: path, descriptor: undefined, release() {} }
  const descriptor = openSync(path, 'r')
  let isOpen = true
  return {
    path,
    // Descriptors 0 to 2 are standard input, output and error.
    serverPath: '/proc/self/fd/3',
    descriptor,
    release() {
      if (isOpen) closeSync(descriptor)
      isOpen = false
    },
  }
}

/**
 * Creates a data directory in the given directory if that is empty.
 *
 * Rejects with `ERR_OPTION_INVALID` if the directory was not created by this engine or has another major version, and with
 * `ERR_GATEWAY_ENGINE` if another process is creating it.
 */
export async function keptCluster(
  { path, serverPath }: KeptDirectory,
  settings: ClusterSettings,
): Promise<Cluster> {
  const { programs, user } = settings
  let names: string[]
  try {
    names = await readdir(path)
  } catch (cause) {
    throw new PgIamError('ERR_OPTION_INVALID', `"dataDirectory" ${path} cannot be read`, { cause })
  }
  if (names.length === 0 || (await takeOverUnfinished(path, names))) {
    await fill(path, settings)
  }
  const marker = await readMarker(path).catch(() => undefined)
  if (marker === undefined) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"dataDirectory" ${path} is not empty and was not created by the gateway's engine "postgres"`,
      {
        hint: names.includes('PG_VERSION')
          ? 'A directory of PGlite needs engine: "pglite". For a directory of another PostgreSQL server, start that server and set "upstream" to its address.'
          : 'Use an empty or a new directory.',
      },
    )
  }
  if (marker.major !== programs.major) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"dataDirectory" ${path} was created by PostgreSQL ${marker.major}, but the programs in ${programs.directory} are PostgreSQL ${programs.version}`,
      {
        hint: `Set PG_BINDIR to the programs of PostgreSQL ${marker.major}, or use another directory.`,
      },
    )
  }
  if (user !== undefined) await giveTo(path, user)
  return { data: serverPath, ...marker }
}

/** Fills an empty directory. The marker is written first, as a lock against other processes, and replaced at the end. */
async function fill(path: string, settings: ClusterSettings): Promise<void> {
  const { user, supervisor } = settings
  try {
    await writeFile(join(path, MARKER), JSON.stringify({ state: PREPARING, pid: process.pid }), {
      flag: 'wx',
      mode: 0o600,
    })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw beingMade(path)
    throw error
  }
  // PostgreSQL refuses to start if the directory is accessible to other users, as directories usually are. initdb changes the mode too.
  await chmod(path, 0o700)
  const data = join(supervisor.directory, 'data')
  let archive = await readCachedCluster(settings)
  if (archive === undefined) {
    archive = await initialize(data, settings)
    await rm(data, { recursive: true })
  }
  await unpack(archive, path, user, `${MARKER}.new`)
  await rename(join(path, `${MARKER}.new`), join(path, MARKER))
}

/** Removes the incomplete directory of a process that was killed while creating it. Returns whether the directory is empty now. */
async function takeOverUnfinished(path: string, names: readonly string[]): Promise<boolean> {
  if (!names.includes(MARKER)) return false
  const text = await readFile(join(path, MARKER), 'utf8')
  // The process was killed before it wrote the marker's content.
  const isEmpty = text === '' && names.length === 1
  const { state, pid } = isEmpty ? { state: PREPARING, pid: 0 } : unfinishedMarker(text)
  if (state !== PREPARING || !Number.isInteger(pid)) return false
  if (pid === process.pid || (pid > 0 && isRunning(pid))) throw beingMade(path)
  for (const name of [...names.filter((other) => other !== MARKER), MARKER])
    await rm(join(path, name), { recursive: true, force: true })
  return true
}

function unfinishedMarker(text: string): { state?: string; pid: number } {
  try {
    return JSON.parse(text) as { state?: string; pid: number }
  } catch {
    return { pid: 0 }
  }
}

const PREPARING = 'preparing'

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function beingMade(path: string): PgIamError {
  return new PgIamError(
    'ERR_GATEWAY_ENGINE',
    `"dataDirectory" ${path} is being created by another gateway`,
    { retryable: true, hint: 'Use a separate directory for each gateway.' },
  )
}

/** Runs initdb and caches the result for later starts, if the cache directory is writable. Resolves with the archive. */
async function initialize(data: string, settings: ClusterSettings): Promise<Buffer> {
  const { supervisor, programs, user, logger } = settings
  const { directory } = supervisor
  const password = randomBytes(24).toString('base64url')
  await writeForServer(join(directory, 'password'), password, user)
  if ((await supervisor.initdb(programs.directory, data, SUPERUSER)) !== 0) {
    const log = await readFile(join(directory, 'initdb.log'), 'utf8').catch(() => '')
    throw new PgIamError('ERR_GATEWAY_ENGINE', `PostgreSQL's initdb failed: ${log.trim()}`, {
      hint: 'If PostgreSQL cannot run here, for example because the user has no entry in /etc/passwd, use engine: "pglite".',
    })
  }
  const marker = { engine: 'postgres', format: FORMAT, major: programs.major, password }
  await writeForServer(join(data, MARKER), JSON.stringify(marker), user)
  const archive = await pack(data)
  try {
    await writeCached(cacheFolders(settings.cacheDirectory), await cacheName(settings), archive)
  } catch (error) {
    logger.debug('gateway: the prepared data directory could not be cached', { error })
  }
  return archive
}

async function readCachedCluster(settings: ClusterSettings): Promise<Buffer | undefined> {
  return readCached(cacheFolders(settings.cacheDirectory), await cacheName(settings))
}

/** The name depends on everything that affects the result of initdb: version, build and format. */
async function cacheName({ programs }: ClusterSettings): Promise<string> {
  const { version, directory } = programs
  const server = process.platform === 'win32' ? 'postgres.exe' : 'postgres'
  // The size identifies the build. The modification time does not, because it differs for each copy of the programs.
  const { size } = await stat(join(directory, server))
  const key = JSON.stringify([size, process.platform, process.arch, SUPERUSER, FORMAT])
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 12)
  return `postgres-${version.replaceAll(/[^\w.]/g, '_')}-${hash}.cluster`
}

/** To be increased when the creation of data directories changes. */
const FORMAT = 1
/** Identifies a data directory of this engine. */
const MARKER = 'pg-iam.json'

interface Marker {
  readonly major: number
  readonly password: string
}

async function readMarker(data: string): Promise<Marker> {
  const marker = JSON.parse(await readFile(join(data, MARKER), 'utf8')) as Record<string, unknown>
  const { engine, format, major, password } = marker
  if (engine !== 'postgres' || format !== FORMAT || typeof password !== 'string')
    throw new Error('the data directory was not created by this engine')
  return { major: Number(major), password }
}

/** Writes a file for the server: owned by its user, and not accessible to other users. */
export async function writeForServer(
  path: string,
  content: string,
  user: ServerUser | undefined,
): Promise<void> {
  await writeFile(path, content, { mode: 0o600 })
  if (user !== undefined) await lchown(path, asUnsigned(user.uid), asUnsigned(user.gid))
}

/** PostgreSQL requires that the directory is owned by its user and not accessible to others. */
async function giveTo(path: string, { uid, gid }: ServerUser): Promise<void> {
  if ((await stat(path)).uid !== asUnsigned(uid)) {
    for (const entry of await readdir(path, { recursive: true }))
      await lchown(join(path, entry), asUnsigned(uid), asUnsigned(gid))
    await lchown(path, asUnsigned(uid), asUnsigned(gid))
  }
  await chmod(path, 0o700)
}

interface PackedFile {
  readonly path: string
  readonly size: number
  /** The size without trailing zeros, which are most of a WAL file. */
  readonly stored: number
}

interface Packed {
  readonly folders: readonly string[]
  readonly files: readonly PackedFile[]
}

/** Packs a directory into one buffer: the length of the file list, the list as JSON, then the contents. */
async function pack(directory: string): Promise<Buffer> {
  const folders: string[] = []
  const paths: string[] = []
  const visit = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(directory, below), { withFileTypes: true })) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`
      if (entry.isDirectory()) {
        folders.push(path)
        await visit(path)
      } else paths.push(path)
    }
  }
  await visit('')
  const contents: Buffer[] = []
  const files: PackedFile[] = []
  for (const path of paths) {
    const bytes = await readFile(join(directory, path))
    const stored = lengthWithoutZeros(bytes)
    files.push({ path, size: bytes.length, stored })
    contents.push(bytes.subarray(0, stored))
  }
  const list = Buffer.from(JSON.stringify({ folders, files } satisfies Packed))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(list.length)
  return Buffer.concat([length, list, ...contents])
}

function lengthWithoutZeros(bytes: Buffer): number {
  let end = bytes.length
  while (end >= BLOCK.length && BLOCK.equals(bytes.subarray(end - BLOCK.length, end)))
    end -= BLOCK.length
  return end
}

const BLOCK = Buffer.alloc(8_192)

/**
 * The owner of each directory is set before it is filled, so that the owner can remove it at any time.
 *
 * The calls are synchronous: for a thousand small files, promises took half a second more, which was most of the start of a server. Other
 * work gets its turn in between.
 */
async function unpack(
  archive: Buffer,
  directory: string,
  user: ServerUser | undefined,
  markerName = MARKER,
): Promise<void> {
  const listEnd = 4 + archive.readUInt32BE(0)
  const { folders, files } = JSON.parse(archive.toString('utf8', 4, listEnd)) as Packed
  const owner = user && ([asUnsigned(user.uid), asUnsigned(user.gid)] as const)
  for (const folder of ['', ...folders]) {
    const path = join(directory, folder)
    mkdirSync(path, { recursive: true, mode: 0o700 })
    if (owner !== undefined) lchownSync(path, ...owner)
  }
  let offset = listEnd
  for (const [index, { path, size, stored }] of files.entries()) {
    if (index % FILES_AT_ONCE === 0) await immediate()
    const name = path === MARKER ? markerName : path
    const file = openSync(join(directory, name), 'wx', 0o600)
    try {
      writeFileSync(file, archive.subarray(offset, offset + stored))
      if (size > stored) ftruncateSync(file, size)
      if (owner !== undefined) fchownSync(file, ...owner)
    } finally {
      closeSync(file)
    }
    offset += stored
  }
}

const FILES_AT_ONCE = 50
