/** Keeps data directories: one prepared for later starts, in the user's cache folder, and the one of an engine, which no other may use. */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PgIamError } from '../../../core/errors.js'
import type { Logger } from '../../../core/events.js'
import { invalidOption } from '../../../core/options/check.js'
import { cacheFolders, readCached, writeCached } from '../cache-folder.js'
import { createDump, fillDirectory } from './worker-thread.js'

export interface DumpSource {
  /** A dump of a fresh data directory, from the cache or newly made, which takes seconds. */
  get(): Promise<Uint8Array>
  /** Makes a new one next time: this one does not start. */
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
      logger.info('pglite: making a new data directory, which takes some seconds')
      const dump = await createDump(database)
      isUseless = false
      await writeCached(folders, name, Buffer.from(dump)).catch((error: unknown) => {
        const what = 'pglite: could not keep the new data directory; the next start is slow, too'
        logger.warn(what, { error })
      })
      return dump
    },
    discard() {
      isUseless = true
    },
  }
}

/** Changes whenever dumps are made in another way. */
const FORMAT = 'v3'
const KEY_DIGITS = 12

/**
 * Fills an empty or missing directory from a dump. Another one beside it is filled at first: should this process end in the middle, there
 * is no directory with half a database in it.
 *
 * Rejects with `ERR_OPTION_INVALID` for a directory that holds something else.
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
 * Keeps two engines from one data directory, which would destroy it: makes a lock file beside it, and returns what removes that. The
 * lock of a process that is gone does not count.
 *
 * Rejects with `ERR_GATEWAY_ENGINE` when another engine has the directory.
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
      // Of several that find the lock stale, one moves it away. The others find the new one, or none.
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
    hint: `Choose another dataDirectory. If nothing uses this one, remove ${file}.`,
    retryable: true,
  })
}
