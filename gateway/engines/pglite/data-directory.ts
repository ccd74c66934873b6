/** Makes a data directory on disk. */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { invalidOption } from '../../../core/options/check.js'

/**
 * Fills an empty or missing directory by `fill`, which gets another one beside it: should this process end in the middle, there is
 * no directory with half a database in it.
 *
 * Rejects with `ERR_OPTION_INVALID` for a directory that holds something else.
 */
export async function ensureDataDirectory(
  dataDirectory: string,
  fill: (directory: string) => Promise<void>,
): Promise<void> {
  const files = await readdir(dataDirectory).catch(() => [] as string[])
  if (files.includes('PG_VERSION')) return
  if (files.length > 0) {
    throw invalidOption('dataDirectory', 'empty or a data directory of PGlite', dataDirectory)
  }
  await mkdir(dirname(dataDirectory), { recursive: true })
  const unfinished = `${dataDirectory}.${randomUUID()}.tmp`
  try {
    await fill(unfinished)
    await rmdir(dataDirectory).catch(() => undefined)
    await rename(unfinished, dataDirectory)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}
