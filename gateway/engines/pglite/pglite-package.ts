/** Finds PGlite, which only those need to install who use this engine. */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { loadPeer } from '../../../core/load-peer.js'
import { workerFile } from './worker-file.cjs'

/**
 * Returns the version that the worker will load, without loading it here. Rejects with `ERR_PEER_MISSING` when it is not
 * installed.
 */
export async function pgliteVersion(): Promise<string> {
  const entry = await loadPeer('@electric-sql/pglite', async () =>
    createRequire(workerFile).resolve('@electric-sql/pglite'),
  )
  const manifest = await readFile(join(dirname(entry), '..', 'package.json'), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
