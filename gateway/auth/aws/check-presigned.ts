/** What Aurora DSQL and RDS check of a token alike: who signed it, with which credentials, and for how long. */
import { timingSafeEqual } from 'node:crypto'
import { basicTime } from '../../../core/providers/aws/sigv4.js'
import type { RefusalReason } from '../refusal.js'
import type { AcceptedToken } from '../verifier.js'
import { parsePresignedToken, type HostForm, type PresignedToken } from './presigned-token.js'
import type { Principal, Principals } from './principals.js'

export interface PresignedSettings {
  readonly principals: Principals
  readonly hostForm: HostForm
  /** The longest life of a token that the service takes, in seconds. */
  readonly maxDurationSecs: number
  /** Epoch milliseconds. */
  readonly now: number
}

/** A token by a known principal, which has neither ended nor not begun yet. What it is for was not looked at. */
export interface CheckedToken {
  readonly token: PresignedToken
  readonly principal: Principal
  readonly accepted: AcceptedToken
}

/** Why a token is not taken; each provider has its own words for the client. */
export interface TokenFault {
  readonly fault: RefusalReason
  /** One sentence for the log, without any of the token. */
  readonly explanation: string
}

/**
 * Checks the signature first and the claims after it, so that a client that holds no secret learns nothing from the log's
 * reasons but that.
 */
export function checkPresigned(
  text: string,
  settings: PresignedSettings,
): CheckedToken | TokenFault {
  if (text === '') return fault('token-missing', 'the password is empty')
  const token = parsePresignedToken(text, settings.hostForm)
  if (typeof token === 'string') return fault('token-malformed', `the token is malformed: ${token}`)
  const principal = settings.principals.find(token.accessKeyId)
  if (principal === undefined) return unknownKey(token, settings)
  const wrong =
    checkSignature(token, principal) ??
    checkSession(token, principal, settings.now) ??
    checkTime(token, settings)
  if (wrong !== undefined) return wrong
  return {
    token,
    principal,
    accepted: { fingerprint: token.signature, expiresAt: endOf(token) },
  }
}

export function fault(reason: RefusalReason, explanation: string): TokenFault {
  return { fault: reason, explanation }
}

/** When a token ends by its own words, in epoch milliseconds. */
function endOf({ signedAt, durationSecs }: PresignedToken): number {
  return signedAt + durationSecs * 1_000
}

function unknownKey(
  { accessKeyId }: PresignedToken,
  { principals }: PresignedSettings,
): TokenFault {
  return principals.wasRevoked(accessKeyId)
    ? fault('access-key-revoked', 'the access key was revoked')
    : fault('access-key-unknown', 'no principal of this endpoint has the access key')
}

function checkSignature(token: PresignedToken, principal: Principal): TokenFault | undefined {
  if (timingSafeEqual(token.signature, principal.sign(token.request))) return undefined
  return fault('signature-wrong', 'the signature is not the one that the secret access key gives')
}

function checkSession(
  token: PresignedToken,
  principal: Principal,
  now: number,
): TokenFault | undefined {
  const expected = principal.sessionToken()
  if (expected !== undefined && token.sessionToken === undefined)
    return fault(
      'session-token-missing',
      'the credentials are temporary and the token names no session',
    )
  if (expected === undefined && token.sessionToken !== undefined)
    return fault(
      'session-token-unexpected',
      'the credentials are permanent and the token names a session',
    )
  if (expected !== undefined && !isSame(expected, token.sessionToken ?? ''))
    return fault('session-token-wrong', 'the token names another session')
  if (principal.expiresAt !== undefined && now >= principal.expiresAt)
    return fault('credentials-expired', `the credentials ended at ${isoTime(principal.expiresAt)}`)
  return undefined
}

function isSame(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function checkTime(
  token: PresignedToken,
  { now, maxDurationSecs }: PresignedSettings,
): TokenFault | undefined {
  const { signedAt, durationSecs, scope } = token
  if (scope.date !== basicTime(signedAt).slice(0, 8))
    return fault('date-inconsistent', 'the date of the signing key is not the date of the token')
  if (durationSecs < 1 || durationSecs > maxDurationSecs)
    return fault(
      'duration-invalid',
      `the token is made to last ${durationSecs} s, not 1 to ${maxDurationSecs} s`,
    )
  const end = endOf(token)
  if (now >= end)
    return fault(
      'token-expired',
      `Signature expired: ${basicTime(end)} is now earlier than ${basicTime(now)}`,
    )
  if (signedAt > now + MAX_AHEAD_MS)
    return fault(
      'token-from-future',
      `the token is dated ${isoTime(signedAt)}, more than five minutes ahead`,
    )
  return undefined
}

/** What AWS allows a signer's clock to be ahead. */
const MAX_AHEAD_MS = 5 * 60_000

/** As the log writes times. */
function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString()
}
