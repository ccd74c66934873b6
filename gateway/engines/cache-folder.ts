/** The folder of the user where engines keep what is slow to make: only files that are whole, and that nobody else could have written. */
import { createHash, randomUUID } from 'node:crypto'
import { lstat, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'

/**
 * The folders to try, the best one first: the one that was given, or else `pg-iam` in `XDG_CACHE_HOME` or in `~/.cache`, and one in the
 * system's folder for temporary files, for users without a home.
 */
export function cacheFolders(given: string | undefined): string[] {
  if (given !== undefined) return [resolve(given)]
  const temporary = join(tmpdir(), `pg-iam-${process.getuid?.() ?? 'user'}`)
  const configured = process.env['XDG_CACHE_HOME'] ?? ''
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

/**
 * Makes the folder where it does not exist. Rejects where somebody else could write there: the programs and databases in it would be
 * theirs. Root's may be read by others, because root's server runs as another user.
 */
export async function makeCacheFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: process.getuid?.() === 0 ? 0o755 : 0o700 })
  const stats = await lstat(folder)
  const isPrivate =
    stats.isDirectory() &&
    // Windows has no such modes, and its folders of a user are private.
    (process.getuid === undefined ||
      (stats.uid === process.getuid() && (stats.mode & OTHERS_MAY_WRITE) === 0))
  if (!isPrivate) throw new Error(`the cache folder ${folder} is open to other users`)
  await removeUnfinished(folder)
}

/** What a process has left that was killed while it made it. */
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

/** Returns the file's content from the first folder that has it, or `undefined` where none has it whole. */
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
      // Not there, or not to be read: the next folder may have it.
    }
  }
  return undefined
}

/**
 * Keeps a file in the first folder that takes it. It is renamed into its place, so that two processes may do so at once. Rejects with
 * the last folder's error where none takes it.
 */
export async function writeCached(
  folders: readonly string[],
  name: string,
  content: Buffer,
): Promise<void> {
  let problem: unknown = new Error('there is no cache folder')
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
