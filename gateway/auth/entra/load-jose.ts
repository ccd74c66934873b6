/** The library that verifies and signs JSON Web Tokens. */
import { peerError } from '../../../core/load-peer.js'

export async function loadJose(): Promise<typeof import('jose')> {
  try {
    return await import('jose')
  } catch (error) {
    throw peerError(error, 'jose')
  }
}
