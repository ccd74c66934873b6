/** Tokens for Aurora DSQL. */
import type { Token } from '../../tokens/token.js'
import type { Clock } from '../../tokens/token-source.js'
import type { AwsCredentials } from '../aws/credentials.js'
import { createPresigner } from '../aws/presign.js'

export interface DsqlTokenSettings {
  host: string
  region: string
  user: string
  durationSecs: number
  credentials: () => Promise<AwsCredentials>
}

/** Creates the function that signs a new token. */
export function dsqlTokenIssuer(
  { host, region, user, durationSecs, credentials }: DsqlTokenSettings,
  clock?: Clock,
): () => Promise<Token> {
  const presign = createPresigner(
    {
      authority: host,
      service: 'dsql',
      region,
      // Only "admin" may, and must, log in with the action for administrators:
      // https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html
      parameters: { Action: user === 'admin' ? 'DbConnectAdmin' : 'DbConnect' },
      durationSecs,
    },
    clock,
  )
  return async () => presign(await credentials())
}
