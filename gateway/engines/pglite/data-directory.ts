/** Makes a data directory on disk. */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { invalidOption } from '../../../core/options/check.js'
import { unpackFiles, type ArchivedFile } from './data-archive.js'

/**
 * Fills an empty or missing directory with the files of a dump. They are written to another one beside it at first: should this
 * process end in the middle, there is no directory with half a database in it.
 *
 * Rejects with `ERR_OPTION_INVALID` for a directory that holds something else.
 */
export async function ensureDataDirectory(
  dataDirectory: string,
  getDump: () => Promise<Uint8Array>,
): Promise<void> {
  const files = await readdir(dataDirectory).catch(() => [] as string[])
  if (files.includes('PG_VERSION')) return
  if (files.length > 0) {
    throw invalidOption('dataDirectory', 'empty or a data directory of PGlite', dataDirectory)
  }
  await mkdir(dirname(dataDirectory), { recursive: true })
  const unfinished = `${dataDirectory}.${randomUUID()}.tmp`
  try {
    await writeFiles(unfinished, await unpackFiles(await getDump()))
    await rmdir(dataDirectory).catch(() => undefined)
    await rename(unfinished, dataDirectory)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

/** With the modes that PostgreSQL gives its files. */
async function writeFiles(directory: string, files: readonly ArchivedFile[]): Promise<void> {
  await mkdir(directory, { mode: 0o700 })
  for (const { path, bytes } of files) {
    const place = join(directory, path)
    await (bytes === undefined
      ? mkdir(place, { mode: 0o700 })
      : writeFile(place, bytes, { mode: 0o600 }))
  }
}
