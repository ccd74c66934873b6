/** Tokens for Aurora DSQL, signed by `@aws-sdk/dsql-signer`. */
import { loadPeer } from '../../load-peer.js'
import { createToken, type Token } from '../../tokens/token.js'
import type { AwsCredentials } from '../aws/credentials.js'
import { presignedExpiry } from '../aws/presigned-expiry.js'
import { createSigningHash } from '../aws/signing-hash.js'

export interface DsqlTokenSettings {
  host: string
  region: string
  user: string
  durationSecs: number
  credentials: () => Promise<AwsCredentials>
}

/** Creates the function that signs a new token. The SDK is loaded when the first one is signed. */
export function dsqlTokenIssuer({
  host,
  region,
  user,
  durationSecs,
  credentials,
}: DsqlTokenSettings): () => Promise<Token> {
  let signer: { credentials: AwsCredentials; sign: () => Promise<string> } | undefined

  return async () => {
    const current = await credentials()
    // The signer is bound to the very credentials whose end limits the token, and kept as long as they are.
    if (signer?.credentials !== current) {
      const { DsqlSigner } = await loadPeer(
        '@aws-sdk/dsql-signer',
        () => import('@aws-sdk/dsql-signer'),
      )
      const made = new DsqlSigner({
        hostname: host,
        region,
        expiresIn: durationSecs,
        credentials: current,
        sha256: createSigningHash(),
      })
      // Only "admin" may, and must, log in with the action for administrators:
      // https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html
      const sign =
        user === 'admin'
          ? () => made.getDbConnectAdminAuthToken()
          : () => made.getDbConnectAuthToken()
      signer = { credentials: current, sign }
    }
    const value = await signer.sign()
    return createToken(
      value,
      new Date(
        Math.min(
          presignedExpiry(value, 'aurora-dsql', host),
          current.expiration?.getTime() ?? Infinity,
        ),
      ),
    )
  }
}
