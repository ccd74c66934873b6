/** Tokens for RDS and Aurora. */
import type { Token } from '../../tokens/token.js'
import type { Clock } from '../../tokens/token-source.js'
import type { AwsCredentials } from '../aws/credentials.js'
import { createPresigner } from '../aws/presign.js'
import { sdkTokenIssuer, signerError } from '../aws/signer.js'

export interface RdsTokenSettings {
  /** Part of what is signed. */
  port: number
  regionOf: (host: string) => string
  user: string
  credentials: () => Promise<AwsCredentials>
  signer: 'aws-sdk' | 'built-in'
}

/**
 * How long a token lives, which is not for us to choose.
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
 */
export const TOKEN_DURATION_SECS = 900

/**
 * Creates the function that signs a new token for a host.
 *
 * @param clock of the built-in signer; that of AWS reads the time itself
 */
export function rdsTokenIssuer(
  settings: RdsTokenSettings,
  clock?: Clock,
): (host: string) => Promise<Token> {
  const issuers = new Map<string, () => Promise<Token>>()
  return (host) => {
    let issue = issuers.get(host)
    if (issue === undefined) {
      issue =
        settings.signer === 'aws-sdk'
          ? signedByAws(host, settings)
          : signedHere(host, settings, clock)
      issuers.set(host, issue)
    }
    return issue()
  }
}

function signedByAws(
  host: string,
  { port, regionOf, user, credentials }: RdsTokenSettings,
): () => Promise<Token> {
  return sdkTokenIssuer({
    provider: 'rds',
    host,
    packageName: '@aws-sdk/rds-signer',
    load: loadSigner,
    createSigner({ Signer }, current) {
      const place = { hostname: host, port, region: regionOf(host) }
      const signer = new Signer({ ...place, username: user, credentials: current })
      return () => signer.getAuthToken()
    },
    credentials,
  })
}

function signedHere(
  host: string,
  { port, regionOf, user, credentials }: RdsTokenSettings,
  clock?: Clock,
): () => Promise<Token> {
  const presign = createPresigner(
    {
      authority: `${host}:${port}`,
      service: 'rds-db',
      region: regionOf(host),
      parameters: { Action: 'connect', DBUser: user },
      durationSecs: TOKEN_DURATION_SECS,
    },
    clock,
  )
  return async () => presign(await credentials())
}

async function loadSigner(): Promise<typeof import('@aws-sdk/rds-signer')> {
  try {
    return await import('@aws-sdk/rds-signer')
  } catch (error) {
    throw signerError(error, '@aws-sdk/rds-signer')
  }
}
