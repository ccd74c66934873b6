/** Makes a fresh data directory, as a dump that later starts load. */
import { peerError } from '../../../core/load-peer.js'
import { packFiles, type ArchivedFile } from './data-archive.js'
import { identifier } from '../../sql/sql-text.js'

/**
 * Runs initdb, which takes seconds in WebAssembly, and returns an archive of the data directory.
 *
 * The database gets its name by renaming: another one beside `postgres` would make the archive larger. PostgreSQL is stopped before
 * its files are read, so that no start has to recover them.
 */
export async function createDump(database: string): Promise<Uint8Array> {
  const { PGlite } = await loadPglite()
  const pglite = await PGlite.create({
    database: 'template1',
    initDbStartParams: INITDB_PARAMETERS,
  })
  if (database !== 'postgres')
    await pglite.exec(`ALTER DATABASE postgres RENAME TO ${identifier(database)}`)
  const FS = pglite.Module.FS as unknown as ProgramFiles
  await pglite.close()
  return packFiles(filesIn(FS, DATA_DIRECTORY))
}

export async function loadPglite(): Promise<typeof import('@electric-sql/pglite')> {
  try {
    return await import('@electric-sql/pglite')
  } catch (error) {
    throw peerError(error, '@electric-sql/pglite')
  }
}

/** Small log segments make a small dump. */
const INITDB_PARAMETERS = ['--wal-segsize=1']

/** Where PGlite has its data directory. */
export const DATA_DIRECTORY = '/pglite/data'

interface ProgramFiles {
  readdir(path: string): string[]
  readFile(path: string): Uint8Array
  stat(path: string): { mode: number }
  isDir(mode: number): boolean
}

function filesIn(FS: ProgramFiles, directory: string): ArchivedFile[] {
  return FS.readdir(directory).flatMap((name) => {
    if (name === '.' || name === '..') return []
    const whole = `${directory}/${name}`
    const path = whole.slice(DATA_DIRECTORY.length + 1)
    if (!FS.isDir(FS.stat(whole).mode)) return [{ path, bytes: FS.readFile(whole) }]
    return [{ path }, ...filesIn(FS, whole)]
  })
}
