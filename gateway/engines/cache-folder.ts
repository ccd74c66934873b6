/** The user's cache directory, where engines store files that are slow to create. Files are complete and not writable by other users. */
import { createHash, randomUUID } from 'node:crypto'
import { lstat, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'

/**
 * The directories to try, in order of preference: the given one only; or else `pg-iam` in `XDG_CACHE_HOME` or `~/.cache`, and one in the
 * system's temporary directory, for users without a home directory.
 */
export function cacheFolders(given: string | undefined): string[] {
  if (given !== undefined) return [resolve(given)]
  const temporary = join(tmpdir(), `pg-iam-${process.getuid?.() ?? 'user'}`)
  const configured = process.env['XDG_CACHE_HOME'] ?? ''
  // The XDG specification requires relative paths to be ignored.
  const caches = isAbsolute(configured) ? configured : cacheFolderOfUser()
  return caches === undefined ? [temporary] : [join(caches, 'pg-iam'), temporary]
}

function cacheFolderOfUser(): string | undefined {
  try {
    return join(homedir(), '.cache')
  } catch {
    // The user has no entry in the user database, as in some containers.
    return undefined
  }
}

/**
 * Creates the directory if it does not exist. Rejects if other users can write to it, because they could replace the programs and
 * databases in it. Root's directory is readable by other users, because root's server runs as another user.
 */
export async function makeCacheFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: process.getuid?.() === 0 ? 0o755 : 0o700 })
  const stats = await lstat(folder)
  const isPrivate =
    stats.isDirectory() &&
    // Windows has no such modes, and the directories of a user are private there.
    (process.getuid === undefined ||
      (stats.uid === process.getuid() && (stats.mode & OTHERS_MAY_WRITE) === 0))
  if (!isPrivate) throw new Error(`the cache directory ${folder} is writable by other users`)
  await removeUnfinished(folder)
}

/** Removes temporary files of processes that were killed while they wrote them. */
async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/\.[0-9a-f-]{36}\.tmp$/.test(name)) continue
    const path = join(folder, name)
    const changed = await lstat(path).catch(() => undefined)
    if (changed !== undefined && Date.now() - changed.mtimeMs > UNFINISHED_FOR_MS)
      await rm(path, { recursive: true, force: true }).catch(() => {})
  }
}

const UNFINISHED_FOR_MS = 3_600_000

const OTHERS_MAY_WRITE = 0o022

/** Returns the content of the file from the first directory that has it, or `undefined` if none has it intact. */
export async function readCached(
  folders: readonly string[],
  name: string,
): Promise<Buffer | undefined> {
  for (const folder of folders) {
    try {
      await makeCacheFolder(folder)
      const bytes = await readFile(join(folder, name))
      const content = bytes.subarray(DIGEST_BYTES)
      if (digestOf(content).equals(bytes.subarray(0, DIGEST_BYTES))) return content
      await rm(join(folder, name), { force: true })
    } catch {
      // The file does not exist or cannot be read: try the next directory.
    }
  }
  return undefined
}

/**
 * Stores a file in the first directory that accepts it. The file is renamed into place, so that processes may do this concurrently.
 * Rejects with the error of the last directory if none accepts it.
 */
export async function writeCached(
  folders: readonly string[],
  name: string,
  content: Buffer,
): Promise<void> {
  let problem: unknown = new Error('there is no cache directory')
  for (const folder of folders) {
    const unfinished = join(folder, `${name}.${randomUUID()}.tmp`)
    try {
      await makeCacheFolder(folder)
      await writeFile(unfinished, [digestOf(content), content], { mode: 0o600 })
      await rename(unfinished, join(folder, name))
      return
    } catch (error) {
      problem = error
      await rm(unfinished, { force: true }).catch(() => {})
    }
  }
  throw problem
}

const DIGEST_BYTES = 32

function digestOf(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}
