/** In place of `core/load-peer.ts`: what bundlers say of a package that is not installed differs, and nothing else can fail. */
import { PgIamError } from '../core/errors.js'

export function peerError(cause: unknown, name: string): unknown {
  return new PgIamError('ERR_PEER_MISSING', `the package "${name}" is not installed`, {
    hint: `Run: npm install ${name}`,
    cause,
  })
}
