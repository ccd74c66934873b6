/** Checks a login's token as Aurora DSQL would. */
import { timingSafeEqual } from 'node:crypto'
import { describeValue } from '../../core/redact.js'
import { dsqlRegion } from '../../core/providers/aurora-dsql-host.js'
import { parsePresignedToken, type PresignedToken } from './presigned-token.js'
import type { Principal, Principals } from './principals.js'
import { accessDenied, fatal, refusal, roleDenied, type Refusal } from './refusal.js'

/** What a client says when it logs in. */
export interface LoginAttempt {
  readonly token: string
  readonly role: string
  readonly database: string
  /** The name that the client asked for in the TLS handshake. */
  readonly servername: string | undefined
}

export interface AcceptedLogin {
  readonly accessKeyId: string
  /** Tells tokens apart. */
  readonly signature: Buffer
  /** When the token ends, in epoch milliseconds. */
  readonly expiresAt: number
}

export type Verdict = { readonly accepted: AcceptedLogin } | { readonly refused: Refusal }

export interface VerifierSettings {
  principals: Principals
  /** Endpoint names, in lower case. */
  clusters: readonly string[]
  roles: readonly string[]
  database: string
  /** Epoch milliseconds. */
  clock: () => number
}

/**
 * Creates the check. It looks at the signature first and at the claims after it, so that a client that holds no secret
 * learns nothing from the log's reasons but that.
 */
export function createAuroraDsqlVerifier(
  settings: VerifierSettings,
): (attempt: LoginAttempt) => Verdict {
  return (attempt) => {
    if (attempt.token === '') return denied('token-missing', 'the password is empty')
    const token = parsePresignedToken(attempt.token)
    if (typeof token === 'string')
      return denied('token-malformed', `the token is malformed: ${token}`)
    const principal = settings.principals.find(token.accessKeyId)
    if (principal === undefined) return unknownKey(token, settings)
    const refused =
      checkSignature(token, principal) ??
      checkSession(token, principal, settings.clock()) ??
      checkTime(token, settings.clock()) ??
      checkTarget(token, attempt, settings) ??
      checkRole(token, attempt, principal, settings)
    if (refused !== undefined) return refused
    const { accessKeyId, signature, signedAt, durationSecs } = token
    return { accepted: { accessKeyId, signature, expiresAt: signedAt + durationSecs * 1000 } }
  }
}

type Refused = Extract<Verdict, { refused: Refusal }>

function denied(reason: Refusal['reason'], explanation: string, told = accessDenied()): Refused {
  return { refused: refusal(reason, explanation, told) }
}

function unknownKey({ accessKeyId }: PresignedToken, { principals }: VerifierSettings): Refused {
  return principals.wasRevoked(accessKeyId)
    ? denied('access-key-revoked', 'the access key was revoked')
    : denied('access-key-unknown', 'no principal of this gateway has the access key')
}

function checkSignature(token: PresignedToken, principal: Principal): Refused | undefined {
  if (timingSafeEqual(token.signature, principal.sign(token.request))) return undefined
  return denied('signature-wrong', 'the signature is not the one that the secret access key gives')
}

function checkSession(
  token: PresignedToken,
  principal: Principal,
  now: number,
): Refused | undefined {
  const expected = principal.sessionToken()
  if (expected !== undefined && token.sessionToken === undefined)
    return denied(
      'session-token-missing',
      'the credentials are temporary and the token names no session',
    )
  if (expected === undefined && token.sessionToken !== undefined)
    return denied(
      'session-token-unexpected',
      'the credentials are permanent and the token names a session',
    )
  if (expected !== undefined && !isSame(expected, token.sessionToken ?? ''))
    return denied('session-token-wrong', 'the token names another session')
  if (principal.expiresAt !== undefined && now >= principal.expiresAt)
    return denied('credentials-expired', `the credentials ended at ${isoTime(principal.expiresAt)}`)
  return undefined
}

function checkTime(token: PresignedToken, now: number): Refused | undefined {
  const { signedAt, durationSecs, scope } = token
  if (scope.date !== basicTime(signedAt).slice(0, 8))
    return denied('date-inconsistent', 'the date of the signing key is not the date of the token')
  if (durationSecs < 1 || durationSecs > MAX_DURATION_SECS)
    return denied(
      'duration-invalid',
      `the token is made to last ${durationSecs} s, not 1 to ${MAX_DURATION_SECS} s`,
    )
  const expiresAt = signedAt + durationSecs * 1000
  if (now >= expiresAt) {
    const hint = `Signature expired: ${basicTime(expiresAt)} is now earlier than ${basicTime(now)}`
    return denied('token-expired', `the token ended at ${isoTime(expiresAt)}`, accessDenied(hint))
  }
  if (signedAt > now + MAX_AHEAD_MS)
    return denied(
      'token-from-future',
      `the token is dated ${isoTime(signedAt)}, more than five minutes ahead`,
    )
  return undefined
}

/** AWS's limit for Aurora DSQL: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html */
const MAX_DURATION_SECS = 604_800
/** What AWS allows a signer's clock to be ahead. */
const MAX_AHEAD_MS = 5 * 60_000

function checkTarget(
  token: PresignedToken,
  { servername }: LoginAttempt,
  { clusters }: VerifierSettings,
): Refused | undefined {
  if (token.scope.service !== 'dsql')
    return denied(
      'service-wrong',
      `the token is for the service ${describeValue(token.scope.service)}, not "dsql"`,
    )
  const host = token.host.toLowerCase()
  const dialled = servername?.toLowerCase()
  const isLocal = LOCAL_HOSTS.includes(host)
  if (!isLocal && !clusters.includes(host))
    return denied(
      'host-unknown',
      `the token is for ${describeValue(host)}, no cluster of this gateway`,
    )
  // A client on this machine may well dial "localhost" and sign for the cluster, but not one cluster for another.
  if (dialled !== undefined && clusters.includes(dialled) && host !== dialled)
    return denied('host-wrong', `the token is for ${host}, and the client dialled ${dialled}`)
  const regions = (isLocal ? clusters : [host]).map(dsqlRegion)
  if (!regions.includes(token.scope.region))
    return denied(
      'region-wrong',
      `the token is for the region ${describeValue(token.scope.region)}, the cluster is in ${[...new Set(regions)].join(', ')}`,
    )
  return undefined
}

/** What clients sign for that know the gateway by its address only. */
const LOCAL_HOSTS = ['localhost', '127.0.0.1']

function checkRole(
  { action }: PresignedToken,
  { role, database }: LoginAttempt,
  principal: Principal,
  settings: VerifierSettings,
): Refused | undefined {
  if (action !== (role === 'admin' ? 'DbConnectAdmin' : 'DbConnect')) {
    const known = action === 'DbConnect' || action === 'DbConnectAdmin'
    const hint = known
      ? `Wrong user to action mapping. user: ${role}, action: ${action}`
      : undefined
    return denied(
      'action-wrong',
      'the action of the token does not fit the role',
      accessDenied(hint),
    )
  }
  if (!principal.roles.has(role))
    return denied('role-not-allowed', 'the principal may not log in as this role', roleDenied())
  if (!settings.roles.includes(role))
    return denied(
      'role-unknown',
      'there is no such role',
      fatal('28000', `role "${role}" does not exist`),
    )
  if (database !== settings.database)
    return denied(
      'database-unknown',
      'there is no such database',
      fatal('3D000', `database "${database}" does not exist`),
    )
  return undefined
}

function isSame(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString()
}

/** As Signature Version 4 writes times: `20260131T235959Z`. */
function basicTime(epochMs: number): string {
  return isoTime(epochMs).replaceAll(/[-:]|\.\d+/g, '')
}
