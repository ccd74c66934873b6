/** A verifier with known principals, and tokens for it from the signer of the AWS SDK. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { canonicalQuery, createSigner } from '../../../core/providers/aws/sigv4.js'
import { createAuroraDsqlVerifier } from '../../../gateway/auth/aurora-dsql.js'
import { createPrincipals, type PrincipalOptions } from '../../../gateway/auth/aws.js'
import type { Refusal } from '../../../gateway/auth/refusal.js'
import type { LoginAttempt, Verdict } from '../../../gateway/auth/verifier.js'

export const CLUSTER = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
export const OTHER_CLUSTER = '01234567890123456789012345.dsql.eu-west-1.on.aws'

export const PRINCIPAL: PrincipalOptions = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  roles: ['admin', 'app'],
}

export interface TokenSettings {
  hostname?: string
  region?: string
  admin?: boolean
  expiresIn?: number
  accessKeyId?: string
  secretAccessKey?: string
  sessionToken?: string
}

/** Signs as the SDK does, but with a given clock. */
export function sdkToken(settings: TokenSettings = {}): Promise<string> {
  const { hostname = CLUSTER, region = 'us-east-1', expiresIn = 900, admin = false } = settings
  const { accessKeyId, secretAccessKey, sessionToken } = { ...PRINCIPAL, ...settings }
  const credentials = {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
  }
  const signer = new DsqlSigner({ hostname, region, expiresIn, credentials })
  return admin ? signer.getDbConnectAdminAuthToken() : signer.getDbConnectAuthToken()
}

export interface Verification extends Partial<LoginAttempt> {
  token: string
  principals?: readonly (PrincipalOptions & { expiresAt?: number })[]
  /** Epoch milliseconds. */
  now?: number
}

/** Returns `accepted`, or the reason of the refusal. */
export function verdict(verification: Verification): string {
  const refused = refusalOf(verification)
  return refused === undefined ? 'accepted' : refused.reason
}

/** The refusal, or `undefined` if the login is accepted. */
export function refusalOf({
  token,
  principals = [PRINCIPAL],
  ...rest
}: Verification): Refusal | undefined {
  const registry = createPrincipals([{ accessKeyId: 'AKIDFIRST', secretAccessKey: 's', roles: [] }])
  for (const { expiresAt, ...principal } of principals) registry.add(principal, expiresAt)
  const verifier = createAuroraDsqlVerifier({
    principals: registry,
    clusters: [CLUSTER, OTHER_CLUSTER],
    clock: () => rest.now ?? Date.now(),
  })
  const { role = 'app', database = 'postgres', servername, clusterId } = rest
  const answer = verifier.verify({ token, role, database, servername, clusterId }) as Verdict
  return 'refused' in answer ? answer.refused : undefined
}

/** The signing time, in epoch milliseconds. */
export function signedAt(token: string): number {
  const [, stamp] = /X-Amz-Date=(\w+)/.exec(token) ?? []
  return Date.parse(String(stamp).replace(/(....)(..)(..)T(..)(..)(..)Z/, '$1-$2-$3T$4:$5:$6Z'))
}

export interface HandmadeToken {
  host?: string
  scope?: { date: string; region: string; service: string }
  timestamp?: string
  /** Parameters to set, change or (if `undefined`) omit before signing. */
  parameters?: Record<string, string | undefined>
}

/** Signs requests that the SDK would not, with the principal's secret: the signature is always correct. */
export function handmadeToken(made: HandmadeToken = {}): string {
  const timestamp = made.timestamp ?? '20260131T120000Z'
  const scope = { date: timestamp.slice(0, 8), region: 'us-east-1', service: 'dsql', ...made.scope }
  const { host = CLUSTER } = made
  const given: Record<string, string | undefined> = {
    Action: 'DbConnect',
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
  const signature = sign({ host, query: canonicalQuery(parameters), timestamp, scope }).toString(
    'hex',
  )
  const query = [...parameters, ['X-Amz-Signature', signature]]
    .map((pair) => pair.map((part) => encodeURIComponent(part)).join('='))
    .join('&')
  return `${host}/?${query}`
}

/** A time at which handmade tokens are valid. */
export const HANDMADE_NOW: number = Date.UTC(2026, 0, 31, 12, 5)
