/** Tokens for Aurora DSQL, signed by `@aws-sdk/dsql-signer`. */
import { PgIamError } from '../../errors.js'
import { loadPeer } from '../../load-peer.js'
import { createToken, type Token } from '../../tokens/token.js'
import type { AwsCredentials } from '../aws/credentials.js'

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
      new Date(Math.min(signedExpiry(value, host), current.expiration?.getTime() ?? Infinity)),
    )
  }
}

/** When the token ends by its own words: the signer's clock may differ from ours, by the SDK's clock-skew correction. */
function signedExpiry(token: string, host: string): number {
  const [, date] = /[?&]X-Amz-Date=(\d{8}T\d{6}Z)/.exec(token) ?? []
  const [, seconds] = /[?&]X-Amz-Expires=(\d+)/.exec(token) ?? []
  if (date === undefined || seconds === undefined) {
    throw new PgIamError(
      'ERR_TOKEN_INVALID',
      `aurora-dsql: the signer's token for ${host} is not a presigned request`,
    )
  }
  const iso = date.replace(/^(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\dZ)$/, '$1-$2-$3:$4:$5')
  return Date.parse(iso) + Number(seconds) * 1000
}
