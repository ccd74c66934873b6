/** The library that verifies and signs JSON Web Tokens. */
import { loadPeer } from '../../../core/load-peer.js'

export function loadJose(): Promise<typeof import('jose')> {
  return loadPeer('jose', () => import('jose'))
}
