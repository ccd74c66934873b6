/** Keeps dumps of fresh data directories, since making one takes seconds and loading one does not. */
import { createHash, randomUUID } from 'node:crypto'
import { lstat, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'

export interface DumpCache {
  /** The dump, or `undefined` when there is none that is whole. */
  read(): Promise<Uint8Array | undefined>
  /** Keeps a dump, for this process and others. Rejects where that is not possible. */
  write(dump: Uint8Array): Promise<void>
  /** Forgets a dump that turned out to be of no use. */
  remove(): Promise<void>
}

export interface DumpKey {
  pgliteVersion: string
  database: string
}

export function createDumpCache(
  directory: string,
  { pgliteVersion, database }: DumpKey,
): DumpCache {
  const key = createHash('sha256').update(database).digest('hex').slice(0, 12)
  const file = join(directory, `pglite-${pgliteVersion}-${FORMAT}-${key}.dump`)
  return {
    async read() {
      if (!(await isPrivate(directory))) return undefined
      const bytes = await readFile(file).catch(() => undefined)
      if (bytes === undefined || bytes.length <= DIGEST_BYTES) return undefined
      const dump = bytes.subarray(DIGEST_BYTES)
      return digestOf(dump).equals(bytes.subarray(0, DIGEST_BYTES)) ? dump : undefined
    },
    async write(dump) {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      if (!(await isPrivate(directory))) throw new Error('the cache folder is open to other users')
      const unfinished = `${file}.${randomUUID()}.tmp`
      try {
        await writeFile(unfinished, Buffer.concat([digestOf(dump), dump]), { mode: 0o600 })
        await rename(unfinished, file)
      } finally {
        await rm(unfinished, { force: true })
      }
    },
    remove: () => rm(file, { force: true }),
  }
}

/** Changes whenever dumps are made in another way. */
const FORMAT = 'v2'
const DIGEST_BYTES = 32

function digestOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** Whoever can write there could give us a database with functions of theirs in it. */
async function isPrivate(directory: string): Promise<boolean> {
  const stats = await lstat(directory).catch(() => undefined)
  if (stats?.isDirectory() !== true) return false
  // Windows has no such modes, and its folders of a user are private.
  if (process.getuid === undefined) return true
  return stats.uid === process.getuid() && (stats.mode & OTHERS_MAY_WRITE) === 0
}

const OTHERS_MAY_WRITE = 0o022

/**
 * The folders to try, the best one first: `pg-iam` in `XDG_CACHE_HOME` or in `~/.cache`, and one in the system's folder for
 * temporary files, for users without a home.
 */
export function defaultCacheDirectories(environment: NodeJS.ProcessEnv = process.env): string[] {
  const temporary = join(tmpdir(), `pg-iam-${process.getuid?.() ?? 'user'}`)
  const configured = environment['XDG_CACHE_HOME'] ?? ''
  // The specification has relative paths ignored.
  const caches = isAbsolute(configured) ? configured : cacheFolderOfUser()
  return caches === undefined ? [temporary] : [join(caches, 'pg-iam'), temporary]
}

function cacheFolderOfUser(): string | undefined {
  try {
    return join(homedir(), '.cache')
  } catch {
    // A user that the system does not know, as in some containers.
    return undefined
  }
}
