/** Finds PGlite, which only those need to install who use this engine. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { PgIamError } from '../../../core/errors.js'
import { peerError } from '../../../core/load-peer.js'
import { workerFile } from './worker-file.cjs'

/**
 * Returns the version that the worker will load, without loading it here.
 *
 * Rejects with `ERR_PEER_MISSING` when it is not installed, and with `ERR_GATEWAY_ENGINE` where the worker's file is not there,
 * because pg-iam is in a bundle.
 */
export async function pgliteVersion(): Promise<string> {
  const isBundled = !existsSync(workerFile)
  const entry = resolvePglite(isBundled ? join(process.cwd(), 'bundle.js') : workerFile)
  if (isBundled) {
    throw new PgIamError('ERR_GATEWAY_ENGINE', 'pglite: it cannot be started from a bundle', {
      hint: 'It runs in a worker, whose file bundlers leave out. Name pg-iam as an external package of the bundle, or give "upstream".',
    })
  }
  const manifest = await readFile(join(dirname(entry), '..', 'package.json'), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

/** The path of PGlite's main module, as seen from a file. */
function resolvePglite(from: string): string {
  try {
    return createRequire(from).resolve('@electric-sql/pglite')
  } catch (error) {
    throw peerError(error, '@electric-sql/pglite')
  }
}
