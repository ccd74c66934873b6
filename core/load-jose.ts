/** Loads jose. Not part of a file with public types: they would need jose, which is optional, to compile. */
import { peerError } from './load-peer.js'

export async function loadJose(): Promise<typeof import('jose')> {
  try {
    return await import('jose')
  } catch (error) {
    throw peerError(error, 'jose')
  }
}
