/** The directory with the data of a PostgreSQL that the gateway starts: a temporary one, or one of the user's that is kept. */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import {
  chmod,
  lchown,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { PgIamError } from '../../../core/errors.js'
import type { Logger } from '../../../core/events.js'
import { cacheFolders, readCached, writeCached } from '../cache-folder.js'
import { asUnsigned, type PostgresPrograms, type ServerUser } from './postgres-programs.js'
import type { Supervisor } from './supervisor.js'

/** The superuser of the databases. Only the engine itself logs in as it. Names that begin with `pg_` are PostgreSQL's own. */
export const SUPERUSER = 'pgiam_superuser'

export interface Cluster {
  /** The data directory as the server finds it. */
  readonly data: string
  /** The password of {@link SUPERUSER}, for logins over TCP. Whoever can read it can read the data. */
  readonly password: string
}

export interface ClusterSettings {
  readonly supervisor: Supervisor
  readonly programs: PostgresPrograms
  readonly user: ServerUser | undefined
  readonly cacheDirectory: string | undefined
  readonly logger: Logger
}

/** Makes a data directory that goes with the supervisor. */
export async function temporaryCluster(settings: ClusterSettings): Promise<Cluster> {
  const data = join(settings.supervisor.directory, 'data')
  const cached = await readCachedCluster(settings)
  if (cached === undefined) await initialize(data, settings)
  else await unpack(cached, data, settings.user)
  return { data, ...(await readMarker(data)) }
}

/** A directory of the user's, open before the supervisor starts. */
export interface KeptDirectory {
  readonly path: string
  /** How the server finds it. */
  readonly serverPath: string
  /** What the server has to inherit for that. */
  readonly descriptor: number | undefined
  release(): void
}

/**
 * Makes the directory where it does not exist, and gives it to the server's user.
 *
 * The server of root runs as another user, who may not be allowed to pass through the folders above, which `mkdtemp` makes for their owner
 * alone. On Linux it inherits the open directory instead, whose path leads there directly.
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
    // Standard input, output and error come first.
    serverPath: '/proc/self/fd/3',
    descriptor,
    release() {
      if (isOpen) closeSync(descriptor)
      isOpen = false
    },
  }
}

/**
 * Makes a data directory in `kept` where it is empty.
 *
 * Rejects with `ERR_OPTION_INVALID` where it holds something that was not made here, or for another major version, and with
 * `ERR_GATEWAY_ENGINE` where another process is making it.
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
      `"dataDirectory" ${path} is not empty, and was not made by the engine "postgres" of a gateway`,
      {
        hint: names.includes('PG_VERSION')
          ? 'A directory of PGlite needs engine: "pglite"; for one of another PostgreSQL start that server, and give its address as "upstream".'
          : 'Give an empty or a new directory.',
      },
    )
  }
  if (marker.major !== programs.major) {
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"dataDirectory" ${path} was made by PostgreSQL ${marker.major}, and the programs in ${programs.directory} are PostgreSQL ${programs.version}`,
      {
        hint: `Set PG_BINDIR to the programs of PostgreSQL ${marker.major}, or give another directory.`,
      },
    )
  }
  if (user !== undefined) await giveTo(path, user)
  return { data: serverPath, ...marker }
}

/** Fills an empty directory. The marker comes first, as the lock against another process, and is written again at the end. */
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
  // A directory that the user has made is mostly readable for others. PostgreSQL refuses to start on it; initdb would change it as well.
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

/** Where a process died while it made the directory, what there is of it is removed. Returns whether it is empty now. */
async function takeOverUnfinished(path: string, names: readonly string[]): Promise<boolean> {
  if (!names.includes(MARKER)) return false
  const text = await readFile(join(path, MARKER), 'utf8')
  // Killed before the first byte was written.
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
    `"dataDirectory" ${path} is being made by another gateway`,
    { retryable: true, hint: 'Give each gateway a directory of its own.' },
  )
}

/** Runs initdb, and keeps the result for later starts where the cache folder can have it. Resolves with what it keeps. */
async function initialize(data: string, settings: ClusterSettings): Promise<Buffer> {
  const { supervisor, programs, user, logger } = settings
  const { directory } = supervisor
  const password = randomBytes(24).toString('base64url')
  await writeForServer(join(directory, 'password'), password, user)
  if ((await supervisor.initdb(programs.directory, data, SUPERUSER)) !== 0) {
    const log = await readFile(join(directory, 'initdb.log'), 'utf8').catch(() => '')
    throw new PgIamError('ERR_GATEWAY_ENGINE', `PostgreSQL's initdb failed: ${log.trim()}`, {
      hint: 'engine: "pglite" runs where PostgreSQL cannot, such as for a user without a name in /etc/passwd.',
    })
  }
  const marker = { engine: 'postgres', format: FORMAT, major: programs.major, password }
  await writeForServer(join(data, MARKER), JSON.stringify(marker), user)
  const archive = await pack(data)
  try {
    await writeCached(cacheFolders(settings.cacheDirectory), await cacheName(settings), archive)
  } catch (error) {
    logger.debug('gateway: a prepared data directory could not be kept', { error })
  }
  return archive
}

async function readCachedCluster(settings: ClusterSettings): Promise<Buffer | undefined> {
  return readCached(cacheFolders(settings.cacheDirectory), await cacheName(settings))
}

/** By everything that decides what initdb makes: another version, build or format is another file. */
async function cacheName({ programs }: ClusterSettings): Promise<string> {
  const { version, directory } = programs
  const server = process.platform === 'win32' ? 'postgres.exe' : 'postgres'
  // Not its time: where root has the programs copied, each copy has another.
  const { size } = await stat(join(directory, server))
  const key = JSON.stringify([size, process.platform, process.arch, SUPERUSER, FORMAT])
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 12)
  return `postgres-${version.replaceAll(/[^\w.]/g, '_')}-${hash}.cluster`
}

/** Changes whenever data directories are made in another way. */
const FORMAT = 1
/** Tells a data directory of this engine from every other. */
const MARKER = 'pg-iam.json'

interface Marker {
  readonly major: number
  readonly password: string
}

async function readMarker(data: string): Promise<Marker> {
  const marker = JSON.parse(await readFile(join(data, MARKER), 'utf8')) as Record<string, unknown>
  const { engine, format, major, password } = marker
  if (engine !== 'postgres' || format !== FORMAT || typeof password !== 'string')
    throw new Error('not made by this engine')
  return { major: Number(major), password }
}

/** A small file that the server reads: its user's own, and closed to everybody else. */
export async function writeForServer(
  path: string,
  content: string,
  user: ServerUser | undefined,
): Promise<void> {
  await writeFile(path, content, { mode: 0o600 })
  if (user !== undefined) await lchown(path, asUnsigned(user.uid), asUnsigned(user.gid))
}

/** PostgreSQL insists on a directory of its user's own that is closed to others. */
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
  /** Without the zeros at the end, which are most of a file of the write-ahead log. */
  readonly stored: number
}

interface Packed {
  readonly folders: readonly string[]
  readonly files: readonly PackedFile[]
}

/** Puts a directory into one buffer: a list of what there is, its length in front, then the contents. */
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

/** Each folder changes hands before anything is put into it, so that its owner can remove it at any moment. */
async function unpack(
  archive: Buffer,
  directory: string,
  user: ServerUser | undefined,
  markerName = MARKER,
): Promise<void> {
  const listEnd = 4 + archive.readUInt32BE(0)
  const { folders, files } = JSON.parse(archive.toString('utf8', 4, listEnd)) as Packed
  for (const folder of ['', ...folders]) {
    const path = join(directory, folder)
    await mkdir(path, { recursive: true, mode: 0o700 })
    if (user !== undefined) await lchown(path, asUnsigned(user.uid), asUnsigned(user.gid))
  }
  let offset = listEnd
  const pending = files.map(({ path, size, stored }) => {
    const start = offset
    offset += stored
    return {
      path: path === MARKER ? markerName : path,
      size,
      bytes: archive.subarray(start, offset),
    }
  })
  const next = pending.values()
  const work = async (): Promise<void> => {
    for (const { path, size, bytes } of next) {
      const file = await open(join(directory, path), 'wx', 0o600)
      try {
        await file.writeFile(bytes)
        if (size > bytes.length) await file.truncate(size)
        if (user !== undefined) await file.chown(asUnsigned(user.uid), asUnsigned(user.gid))
      } finally {
        await file.close()
      }
    }
  }
  // As many as Node has threads for files.
  await Promise.all([work(), work(), work(), work()])
}
