/** Tokens for RDS and Aurora. */
import type { Token } from '../../tokens/token.js'
import type { Clock } from '../../tokens/token-source.js'
import type { AwsCredentials } from '../aws/credentials.js'
import { createPresigner, type Presigner } from '../aws/presign.js'

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

/** Creates the function that signs a new token for a host. */
export function rdsTokenIssuer(
  { port, regionOf, user, credentials }: RdsTokenSettings,
  clock?: Clock,
): (host: string) => Promise<Token> {
  const presigners = new Map<string, Presigner>()
  const presignerFor = (host: string): Presigner => {
    const known = presigners.get(host)
    if (known !== undefined) return known
    const made = createPresigner(
      {
        authority: `${host}:${port}`,
        service: 'rds-db',
        region: regionOf(host),
        parameters: { Action: 'connect', DBUser: user },
        durationSecs: TOKEN_DURATION_SECS,
      },
      clock,
    )
    presigners.set(host, made)
    return made
  }
  return async (host) => {
    const current = await credentials()
    return presignerFor(host)(current)
  }
}
