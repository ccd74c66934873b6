/** Gives a dump of a fresh data directory, from the cache or newly made. */
import type { Logger } from '../../../core/logger.js'
import {
  createDumpCache,
  defaultCacheDirectories,
  type DumpCache,
  type DumpKey,
} from './dump-cache.js'
import { createDataDirectory } from './worker-thread.js'

export interface Dumps {
  get(): Promise<Uint8Array>
  /** The dump that was given does not start: the next one is to be new. */
  discard(): Promise<void>
}

export interface DumpsSettings extends DumpKey {
  cacheDirectory: string | undefined
  logger: Logger
  /** Makes a new dump. */
  create?: (database: string) => Promise<Uint8Array>
}

export function createDumps(settings: DumpsSettings): Dumps {
  const { cacheDirectory, logger, database, create = createDataDirectory } = settings
  const directories = cacheDirectory === undefined ? defaultCacheDirectories() : [cacheDirectory]
  const caches = directories.map((directory) => createDumpCache(directory, settings))

  const keep = async (dump: Uint8Array): Promise<void> => {
    let failure: unknown
    for (const cache of caches) {
      try {
        return await cache.write(dump)
      } catch (error) {
        failure ??= error
      }
    }
    logger.warn('pglite: could not keep the new data directory; the next start is slow, too', {
      error: failure,
    })
  }
  return {
    async get() {
      const kept = await firstOf(caches)
      if (kept !== undefined) return kept
      logger.info('pglite: making a new data directory, which takes some seconds')
      const dump = await create(database)
      await keep(dump)
      return dump
    },
    async discard() {
      await Promise.all(caches.map((cache) => cache.remove().catch(() => undefined)))
    },
  }
}

async function firstOf(caches: readonly DumpCache[]): Promise<Uint8Array | undefined> {
  for (const cache of caches) {
    const dump = await cache.read()
    if (dump !== undefined) return dump
  }
  return undefined
}
