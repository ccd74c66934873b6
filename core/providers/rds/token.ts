/** Tokens for RDS and Aurora, signed by `@aws-sdk/rds-signer`. */
import type { Signer } from '@aws-sdk/rds-signer'
import { loadPeer } from '../../load-peer.js'
import { createToken, type Token } from '../../tokens/token.js'
import type { AwsCredentials } from '../aws/credentials.js'
import { presignedExpiry } from '../aws/presigned-expiry.js'
import { createSigningHash } from '../aws/signing-hash.js'

export interface RdsTokenSettings {
  /** Part of what is signed. */
  port: number
  regionOf: (host: string) => string
  user: string
  credentials: () => Promise<AwsCredentials>
}

/**
 * How long a token lives, which is not for us to choose.
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
 */
export const TOKEN_DURATION_SECS = 900

/**
 * Creates the function that signs a new token for a host. The SDK is loaded when the first one is signed. It is given the very
 * credentials whose end limits the token, not what they come from: it would ask again by itself.
 */
export function rdsTokenIssuer(settings: RdsTokenSettings): (host: string) => Promise<Token> {
  const signers = new Map<string, { credentials: AwsCredentials; signer: Signer }>()

  return async (hostname) => {
    const credentials = await settings.credentials()
    let known = signers.get(hostname)
    if (known?.credentials !== credentials) {
      known = { credentials, signer: await signerFor(hostname, credentials, settings) }
      signers.set(hostname, known)
    }
    const value = await known.signer.getAuthToken()
    const expiry = presignedExpiry(value, 'rds', hostname)
    return createToken(
      value,
      new Date(Math.min(expiry, credentials.expiration?.getTime() ?? Infinity)),
    )
  }
}

async function signerFor(
  hostname: string,
  credentials: AwsCredentials,
  { port, regionOf, user }: RdsTokenSettings,
): Promise<Signer> {
  const { Signer } = await loadPeer('@aws-sdk/rds-signer', () => import('@aws-sdk/rds-signer'))
  return new Signer({
    hostname,
    port,
    region: regionOf(hostname),
    username: user,
    credentials,
    sha256: createSigningHash(),
  })
}
