/** An RDS verifier with known principals, and tokens for it from the signer of the AWS SDK. */
import { Signer } from '@aws-sdk/rds-signer'
import { canonicalQuery, createSigner } from '../../../core/providers/aws/sigv4.js'
import { createPrincipals, type PrincipalOptions } from '../../../gateway/auth/aws.js'
import { createRdsVerifier } from '../../../gateway/auth/rds.js'
import type { Refusal } from '../../../gateway/auth/refusal.js'
import type { LoginAttempt, Verdict } from '../../../gateway/auth/verifier.js'

export const DATABASE_HOST = 'db.abcdefghijkl.eu-west-1.rds.amazonaws.com'
export const OTHER_HOST = 'other.abcdefghijkl.us-east-1.rds.amazonaws.com'
export const PORT = 5432

export const PRINCIPAL: PrincipalOptions = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  roles: ['app', 'report'],
}

export interface RdsTokenSettings {
  hostname?: string
  port?: number
  region?: string
  username?: string
  accessKeyId?: string
  secretAccessKey?: string
  sessionToken?: string
}

/** Signs as the SDK does, but with a given clock. */
export function rdsToken(settings: RdsTokenSettings = {}): Promise<string> {
  const { hostname = DATABASE_HOST, port = PORT, region = 'eu-west-1', username = 'app' } = settings
  const { accessKeyId, secretAccessKey, sessionToken } = { ...PRINCIPAL, ...settings }
  const credentials = {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
  }
  return new Signer({ hostname, port, region, username, credentials }).getAuthToken()
}

export interface RdsVerification extends Partial<LoginAttempt> {
  token: string
  principals?: readonly (PrincipalOptions & { expiresAt?: number })[]
  /** Epoch milliseconds. */
  now?: number
}

/** Returns `accepted`, or the reason of the refusal. */
export function rdsVerdict(verification: RdsVerification): string {
  return rdsRefusal(verification)?.reason ?? 'accepted'
}

/** The refusal, or `undefined` if the login is accepted. */
export function rdsRefusal({
  token,
  principals = [PRINCIPAL],
  now,
  ...rest
}: RdsVerification): Refusal | undefined {
  const registry = createPrincipals([{ accessKeyId: 'AKIDFIRST', secretAccessKey: 's', roles: [] }])
  for (const { expiresAt, ...principal } of principals) registry.add(principal, expiresAt)
  const verifier = createRdsVerifier({
    principals: registry,
    regions: new Map([
      [DATABASE_HOST, 'eu-west-1'],
      [OTHER_HOST, 'us-east-1'],
    ]),
    port: PORT,
    clock: () => now ?? Date.now(),
  })
  const { role = 'app', database = 'postgres', servername } = rest
  const answer = verifier.verify({ token, role, database, servername }) as Verdict
  return 'refused' in answer ? answer.refused : undefined
}

export interface HandmadeRdsToken {
  authority?: string
  scope?: Partial<Record<'date' | 'region' | 'service', string>>
  timestamp?: string
  /** Parameters to set, change or (if `undefined`) omit before signing. */
  parameters?: Record<string, string | undefined>
}

/** Signs requests that the SDK would not, with the principal's secret: the signature is always correct. */
export function handmadeRdsToken(made: HandmadeRdsToken = {}): string {
  const { authority = `${DATABASE_HOST}:${PORT}`, timestamp = '20260131T120000Z' } = made
  const scope = {
    date: timestamp.slice(0, 8),
    region: 'eu-west-1',
    service: 'rds-db',
    ...made.scope,
  }
  const given: Record<string, string | undefined> = {
    Action: 'connect',
    DBUser: 'app',
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `AKIDEXAMPLE/${scope.date}/${scope.region}/${scope.service}/aws4_request`,
    'X-Amz-Date': timestamp,
    'X-Amz-Expires': '900',
    'X-Amz-SignedHeaders': 'host',
    ...made.parameters,
  }
  const parameters = new Map(
    Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
  const sign = createSigner(PRINCIPAL.secretAccessKey)
  const signature = sign({
    host: authority,
    query: canonicalQuery(parameters),
    timestamp,
    scope,
  }).toString('hex')
  const query = [...parameters, ['X-Amz-Signature', signature]]
    .map((pair) => pair.map((part) => encodeURIComponent(part)).join('='))
    .join('&')
  return `${authority}/?${query}`
}

/** A time at which handmade tokens are valid. */
export const HANDMADE_NOW: number = Date.UTC(2026, 0, 31, 12, 5)
