/** The built-in signer of tokens that are presigned requests, as those of Aurora DSQL and RDS are. */
import { createToken, type Token } from '../../tokens/token.js'
import type { Clock } from '../../tokens/token-source.js'
import type { AwsCredentials } from './credentials.js'
import { basicTime, canonicalQuery, createSigner, encodeRfc3986, scopeName } from './sigv4.js'

export interface PresignSettings {
  /** What the token is for: a host, or `HOST:PORT`. */
  authority: string
  /** As IAM calls it: `dsql`, `rds-db`. */
  service: string
  region: string
  /** What is asked for. Their names come before `X-Amz-…` in the alphabet. */
  parameters: Readonly<Record<string, string>>
  durationSecs: number
}

/** Makes a new token for each call. It ends with the credentials where they end first. */
export type Presigner = (credentials: AwsCredentials) => Token

/**
 * Creates a presigner. Its tokens are, byte for byte, those of `@aws-sdk/dsql-signer` and `@aws-sdk/rds-signer`.
 *
 * It is for cold starts and small bundles: docs/aurora-dsql.md has the figures. Version 4 of the signature has not changed since 2012.
 */
export function createPresigner(settings: PresignSettings, now: Clock = Date.now): Presigner {
  const { authority, durationSecs } = settings
  let kept: Day | undefined

  return (credentials) => {
    const signedAt = Math.floor(now() / 1_000) * 1_000
    const timestamp = basicTime(signedAt)
    const date = timestamp.slice(0, 8)
    if (kept?.credentials !== credentials || kept.date !== date)
      kept = dayOf(date, credentials, settings)
    const signed = `${kept.beforeTime}${timestamp}${kept.afterTime}`
    const signature = kept.sign(timestamp, `${signed}&${SIGNED_HEADERS}`)
    const value = `${authority}/?${signed}&X-Amz-Signature=${signature}&${SIGNED_HEADERS}`
    const endsAt = signedAt + durationSecs * 1_000
    const credentialsEndAt = credentials.expiration?.getTime() ?? Infinity
    return createToken(value, new Date(Math.min(endsAt, credentialsEndAt)))
  }
}

const SIGNED_HEADERS = 'X-Amz-SignedHeaders=host'

/** What the tokens of one day and one identity have in common: all but the time and the signature. */
interface Day {
  readonly credentials: AwsCredentials
  readonly date: string
  readonly beforeTime: string
  readonly afterTime: string
  readonly sign: (timestamp: string, query: string) => string
}

function dayOf(date: string, credentials: AwsCredentials, settings: PresignSettings): Day {
  const { authority: host, region, service, parameters, durationSecs } = settings
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  const scope = { date, region, service }
  const signer = createSigner(secretAccessKey)
  const identity = encodeRfc3986(`${accessKeyId}/${scopeName(scope)}`)
  const session =
    sessionToken === undefined ? '' : `&X-Amz-Security-Token=${encodeRfc3986(sessionToken)}`
  return {
    credentials,
    date,
    // In the order of the alphabet, in which they are signed.
    beforeTime: `${canonicalQuery(Object.entries(parameters))}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${identity}&X-Amz-Date=`,
    afterTime: `&X-Amz-Expires=${durationSecs}${session}`,
    sign: (timestamp, query) => signer({ host, query, timestamp, scope }).toString('hex'),
  }
}
