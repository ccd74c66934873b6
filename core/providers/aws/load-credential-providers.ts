/** Loads the AWS SDK's credential providers when they are first needed. */
import { peerError } from '../../load-peer.js'

export async function loadCredentialProviders(): Promise<
  typeof import('@aws-sdk/credential-providers')
> {
  try {
    return await import('@aws-sdk/credential-providers')
  } catch (error) {
    throw peerError(error, '@aws-sdk/credential-providers')
  }
}
