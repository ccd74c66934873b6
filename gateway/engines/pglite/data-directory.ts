/** Data directories of PGlite: the prepared one in the user's cache directory, and the one of an engine, with its lock. */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PgIamError } from '../../../core/errors.js'
import type { Logger } from '../../../core/events.js'
import { invalidOption } from '../../../core/options/check.js'
import { cacheFolders, readCached, writeCached } from '../cache-folder.js'
import { createDump, fillDirectory } from './worker-thread.js'

export interface DumpSource {
  /** Returns a dump of a fresh data directory, from the cache or newly created, which takes seconds. */
  get(): Promise<Uint8Array>
  /** Makes the next `get` create a new dump, because PGlite does not start with this one. */
  discard(): void
}

export interface DumpSettings {
  readonly version: string
  readonly database: string
  readonly cacheDirectory: string | undefined
  readonly logger: Logger
}

export function createDumpSource(settings: DumpSettings): DumpSource {
  const { version, database, cacheDirectory, logger } = settings
  const key = createHash('sha256').update(database).digest('hex').slice(0, KEY_DIGITS)
  const name = `pglite-${version}-${FORMAT}-${key}.dump`
  const folders = cacheFolders(cacheDirectory)
  let isUseless = false
  return {
    async get() {
      const kept = isUseless ? undefined : await readCached(folders, name)
      if (kept !== undefined) return kept
      logger.info('pglite: creating a data directory, which takes several seconds')
      const dump = await createDump(database)
      isUseless = false
      await writeCached(folders, name, Buffer.from(dump)).catch((error: unknown) => {
        const what = 'pglite: the data directory could not be cached; the next start will be slow'
        logger.warn(what, { error })
      })
      return dump
    },
    discard() {
      isUseless = true
    },
  }
}

/** To be increased when the creation of dumps changes. */
const FORMAT = 'v3'
const KEY_DIGITS = 12

/**
 * Fills an empty or missing directory from a dump. The files are written to a temporary directory, which is then renamed, so that a
 * crash leaves no incomplete database.
 *
 * Rejects with `ERR_OPTION_INVALID` for a directory with other content.
 */
export async function ensureDataDirectory(
  dataDirectory: string,
  database: string,
  dumps: DumpSource,
): Promise<void> {
  const files = await readdir(dataDirectory).catch(() => [] as string[])
  if (files.includes('PG_VERSION')) return
  if (files.length > 0) {
    throw invalidOption('dataDirectory', 'empty or a data directory of PGlite', dataDirectory)
  }
  await mkdir(dirname(dataDirectory), { recursive: true })
  const unfinished = `${dataDirectory}.${randomUUID()}.tmp`
  try {
    await fillDirectory(database, await dumps.get(), unfinished)
    await rmdir(dataDirectory).catch(() => undefined)
    await rename(unfinished, dataDirectory)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

/**
 * Prevents two engines from using one data directory, which would corrupt it. Creates a lock file next to it and returns a function that
 * removes the file. The lock of a process that no longer exists is ignored.
 *
 * Rejects with `ERR_GATEWAY_ENGINE` if another engine uses the directory.
 */
export async function lockDataDirectory(dataDirectory: string): Promise<() => Promise<void>> {
  const file = `${dataDirectory}.lock`
  await mkdir(dirname(dataDirectory), { recursive: true })
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      await writeFile(file, String(process.pid), { flag: 'wx' })
      return () => rm(file, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const owner = Number(await readFile(file, 'utf8').catch(() => '0'))
      if (owner > 0 && isAlive(owner)) throw inUse(file, `process ${owner}`)
      // If several processes find the stale lock, only one succeeds in moving it away. The others find the new lock, or none.
      const away = `${file}.${randomUUID()}`
      await rename(file, away).catch(() => undefined)
      await rm(away, { force: true })
    }
  }
  throw inUse(file, 'another engine')
}

const ATTEMPTS = 3

function isAlive(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function inUse(file: string, by: string): PgIamError {
  return new PgIamError('ERR_GATEWAY_ENGINE', `pglite: the data directory is in use by ${by}`, {
    hint: `Choose another "dataDirectory". If no process uses this one, remove ${file}.`,
    retryable: true,
  })
}
