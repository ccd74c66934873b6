/** Tokens for Aurora DSQL. */
import type { Token } from '../../tokens/token.js'
import type { Clock } from '../../tokens/token-source.js'
import type { AwsCredentials } from '../aws/credentials.js'
import { createPresigner } from '../aws/presign.js'
import { sdkTokenIssuer, signerError } from '../aws/signer.js'

export interface DsqlTokenSettings {
  host: string
  region: string
  user: string
  durationSecs: number
  credentials: () => Promise<AwsCredentials>
  signer: 'aws-sdk' | 'built-in'
}

/**
 * Creates the function that signs a new token.
 *
 * @param clock of the built-in signer; that of AWS reads the time itself
 */
export function dsqlTokenIssuer(
  { host, region, user, durationSecs, credentials, signer }: DsqlTokenSettings,
  clock?: Clock,
): () => Promise<Token> {
  // Only "admin" may, and must, log in with the action for administrators:
  // https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html
  const isAdmin = user === 'admin'
  if (signer === 'aws-sdk') {
    return sdkTokenIssuer({
      provider: 'aurora-dsql',
      host,
      packageName: '@aws-sdk/dsql-signer',
      load: loadSigner,
      createSigner({ DsqlSigner }, current) {
        const settings = { hostname: host, region, expiresIn: durationSecs, credentials: current }
        const made = new DsqlSigner(settings)
        return isAdmin
          ? () => made.getDbConnectAdminAuthToken()
          : () => made.getDbConnectAuthToken()
      },
      credentials,
    })
  }
  const presign = createPresigner(
    {
      authority: host,
      service: 'dsql',
      region,
      parameters: { Action: isAdmin ? 'DbConnectAdmin' : 'DbConnect' },
      durationSecs,
    },
    clock,
  )
  return async () => presign(await credentials())
}

async function loadSigner(): Promise<typeof import('@aws-sdk/dsql-signer')> {
  try {
    return await import('@aws-sdk/dsql-signer')
  } catch (error) {
    throw signerError(error, '@aws-sdk/dsql-signer')
  }
}
