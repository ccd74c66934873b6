/** Tokens for RDS and Aurora, signed by `@aws-sdk/rds-signer`. */
import { loadPeer } from '../../load-peer.js'
import { createToken, type Token } from '../../tokens/token.js'
import type { AwsCredentials } from '../aws/credentials.js'
import { presignedExpiry } from '../aws/presigned-expiry.js'

export interface RdsTokenSettings {
  host: string
  /** Part of what is signed. */
  port: number
  region: string
  user: string
  credentials: () => Promise<AwsCredentials>
}

/**
 * How long a token lives, which is not for us to choose.
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
 */
export const TOKEN_DURATION_SECS = 900

/**
 * Signs a new token. The SDK is loaded when the first one is signed. It is given the very credentials whose end limits the
 * token, not what they come from: it would ask again by itself.
 */
export async function signRdsToken(settings: RdsTokenSettings): Promise<Token> {
  const { host: hostname, port, region, user: username } = settings
  const credentials = await settings.credentials()
  const { Signer } = await loadPeer('@aws-sdk/rds-signer', () => import('@aws-sdk/rds-signer'))
  const signer = new Signer({ hostname, port, region, username, credentials })
  const value = await signer.getAuthToken()
  const expiry = presignedExpiry(value, 'rds', hostname)
  return createToken(
    value,
    new Date(Math.min(expiry, credentials.expiration?.getTime() ?? Infinity)),
  )
}
