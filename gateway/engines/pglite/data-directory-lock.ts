/** Keeps two engines from one data directory, which would destroy it. */
import { randomUUID } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { PgIamError } from '../../../core/errors.js'

/**
 * Makes a lock file beside the directory and returns what removes it. The lock of a process that is gone does not count.
 *
 * Rejects with `ERR_GATEWAY_ENGINE` when another engine has the directory.
 */
export async function lockDataDirectory(
  dataDirectory: string,
  isAlive: (processId: number) => boolean = processIsAlive,
): Promise<() => Promise<void>> {
  const file = `${dataDirectory}.lock`
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      await writeFile(file, String(process.pid), { flag: 'wx' })
      return () => rm(file, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      await removeStale(file, isAlive)
    }
  }
  throw inUse(file, undefined)
}

const ATTEMPTS = 3

async function removeStale(file: string, isAlive: (processId: number) => boolean): Promise<void> {
  const owner = Number(await readFile(file, 'utf8').catch(() => '0'))
  if (owner > 0 && isAlive(owner)) throw inUse(file, owner)
  // Of several that find the lock stale, one moves it away. The others find the new one, or none.
  const away = `${file}.${randomUUID()}`
  await rename(file, away).catch(() => undefined)
  await rm(away, { force: true })
}

function processIsAlive(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function inUse(file: string, owner: number | undefined): PgIamError {
  const by = owner === undefined ? 'another engine' : `process ${owner}`
  return new PgIamError('ERR_GATEWAY_ENGINE', `pglite: the data directory is in use by ${by}`, {
    hint: `Choose another dataDirectory. If nothing uses this one, remove ${file}.`,
    retryable: true,
  })
}
