/** Loads the AWS SDK's credential providers when they are first needed. */
import { loadPeer } from '../../load-peer.js'

export function loadCredentialProviders(): Promise<typeof import('@aws-sdk/credential-providers')> {
  return loadPeer('@aws-sdk/credential-providers', () => import('@aws-sdk/credential-providers'))
}
