/** Makes a fresh data directory, as a dump that later starts load. */
import { gzipSync } from 'node:zlib'

/**
 * Runs initdb, which takes seconds in WebAssembly, and returns the data directory as a gzipped tar.
 *
 * The database gets its name by renaming: a copy of a template would be the larger, and PGlite cannot change its database.
 */
export async function createDump(database: string): Promise<Uint8Array> {
  const { PGlite } = await import('@electric-sql/pglite')
  const pglite = await PGlite.create({
    database: 'template1',
    initDbStartParams: INITDB_PARAMETERS,
  })
  if (database !== 'postgres')
    await pglite.exec(`ALTER DATABASE postgres RENAME TO "${database.replaceAll('"', '""')}"`)
  await pglite.exec('CHECKPOINT')
  const tar = await pglite.dumpDataDir('none')
  await pglite.close()
  return gzipSync(Buffer.from(await tar.arrayBuffer()))
}

/** Small log segments make a small dump. */
const INITDB_PARAMETERS = ['--wal-segsize=1']
