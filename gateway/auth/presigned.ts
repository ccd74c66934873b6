/** Checks that Aurora DSQL and RDS tokens have in common: signature, credentials and validity period. */
import { timingSafeEqual } from 'node:crypto'
import {
  basicTime,
  canonicalQuery,
  type CredentialScope,
  type RequestToSign,
} from '../../core/providers/aws/sigv4.js'
import type { Principal, Principals } from './aws.js'
import type { RefusalReason } from './refusal.js'
import type { AcceptedToken } from './verifier.js'

interface PresignedSettings {
  readonly principals: Principals
  readonly hostForm: HostForm
  /** The longest token lifetime that the service accepts, in seconds. */
  readonly maxDurationSecs: number
  /** Epoch milliseconds. */
  readonly now: number
}

/** A currently valid token of a known principal. Its target (service, host, action) is not checked yet. */
interface CheckedToken {
  readonly token: PresignedToken
  readonly principal: Principal
  readonly accepted: AcceptedToken
}

/** Why a token is rejected. Each provider maps it to its own error for the client. */
export interface TokenFault {
  readonly fault: RefusalReason
  /** One sentence for the log, without any part of the token. */
  readonly explanation: string
}

/**
 * Verifies the signature before the other parts, so that the refusal reasons reveal nothing to a client without the secret key.
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
    accepted: { fingerprint: token.signature, expiresAt: expiryOf(token) },
  }
}

export function fault(reason: RefusalReason, explanation: string): TokenFault {
  return { fault: reason, explanation }
}

/** When a token expires, in epoch milliseconds. */
function expiryOf({ signedAt, durationSecs }: PresignedToken): number {
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
  return fault('signature-wrong', 'the signature does not match the secret access key')
}

export function checkSession(
  token: Pick<PresignedToken, 'sessionToken'>,
  principal: Principal,
  now: number,
): TokenFault | undefined {
  const expected = principal.sessionToken()
  if (expected !== undefined && token.sessionToken === undefined)
    return fault(
      'session-token-missing',
      'the credentials are temporary, but there is no session token',
    )
  if (expected === undefined && token.sessionToken !== undefined)
    return fault(
      'session-token-unexpected',
      'the credentials are permanent, but there is a session token',
    )
  if (expected !== undefined && !isSame(expected, token.sessionToken ?? ''))
    return fault('session-token-wrong', 'the session token is not that of the access key')
  if (principal.expiresAt !== undefined && now >= principal.expiresAt)
    return fault(
      'credentials-expired',
      `the credentials expired at ${isoTime(principal.expiresAt)}`,
    )
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
  if (scope.date !== token.request.timestamp.slice(0, 8))
    return fault(
      'date-inconsistent',
      'the date of the signing key differs from the date of the token',
    )
  if (durationSecs < 1 || durationSecs > maxDurationSecs)
    return fault(
      'duration-invalid',
      `the token lifetime is ${durationSecs} s, not 1 to ${maxDurationSecs} s`,
    )
  const expiresAt = expiryOf(token)
  if (now >= expiresAt)
    return fault(
      'token-expired',
      `Signature expired: ${basicTime(expiresAt)} is now earlier than ${basicTime(now)}`,
    )
  if (signedAt > now + MAX_AHEAD_MS)
    return fault(
      'token-from-future',
      `the token is dated ${isoTime(signedAt)}, more than five minutes in the future`,
    )
  return undefined
}

/** The clock skew that AWS accepts. */
export const MAX_AHEAD_MS: number = 5 * 60_000

/** The time format of the log. */
function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString()
}

// Parses a token: a presigned URL without its scheme, as Aurora DSQL and RDS use it.

export interface PresignedToken {
  readonly accessKeyId: string
  /** Without a port. */
  readonly host: string
  /** Present if the form is `host:port`. */
  readonly port: number | undefined
  readonly action: string | undefined
  /** RDS: the database role. */
  readonly dbUser: string | undefined
  readonly sessionToken: string | undefined
  readonly scope: CredentialScope
  /** The signing time, in epoch milliseconds. */
  readonly signedAt: number
  /** The lifetime, in seconds. */
  readonly durationSecs: number
  readonly signature: Buffer
  /** The request that the signature covers. */
  readonly request: RequestToSign
}

/** The part before the parameters: Aurora DSQL signs for a host, RDS for a host and port. */
type HostForm = 'host' | 'host:port'

/** Returns the parts of the token, or a sentence that explains why it is invalid, without any part of it. */
export function parsePresignedToken(token: string, form: HostForm): PresignedToken | string {
  const separator = token.indexOf('/?')
  if (separator <= 0) return 'it does not consist of a host name, "/?" and parameters'
  const authority = token.slice(0, separator)
  const target = parseAuthority(authority, form)
  if (target === undefined) return `its target does not have the form ${form.toUpperCase()}`
  const parameters = parseQuery(token.slice(separator + 2))
  if (typeof parameters === 'string') return parameters

  const take = (name: string): string => parameters.get(name) ?? ''
  const missing = REQUIRED.find((name) => take(name) === '')
  if (missing !== undefined) return `it has no ${missing}`
  if (take('X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256') return 'its algorithm is not AWS4-HMAC-SHA256'
  if (take('X-Amz-SignedHeaders') !== 'host') return 'its signed headers are not "host" alone'
  const credential = parseCredential(take('X-Amz-Credential'))
  if (credential === undefined) return 'its credential is not KEY/DATE/REGION/SERVICE/aws4_request'
  const { accessKeyId, scope } = credential
  const timestamp = take('X-Amz-Date')
  const signedAt = parseTimestamp(timestamp)
  if (signedAt === undefined) return 'its date is invalid'
  const duration = take('X-Amz-Expires')
  if (!/^-?\d{1,15}$/.test(duration)) return 'its duration is not a number of seconds'
  if (!/^[0-9a-f]{64}$/.test(take('X-Amz-Signature')))
    return 'its signature is not 64 lower-case hexadecimal digits'

  const signed = new Map(parameters)
  signed.delete('X-Amz-Signature')
  return {
    accessKeyId,
    ...target,
    action: parameters.get('Action'),
    dbUser: parameters.get('DBUser'),
    sessionToken: parameters.get('X-Amz-Security-Token'),
    scope,
    signedAt,
    durationSecs: Number(duration),
    signature: Buffer.from(take('X-Amz-Signature'), 'hex'),
    request: { host: authority, query: canonicalQuery(signed), timestamp, scope },
  }
}

/** Parses `KEY/DATE/REGION/SERVICE/aws4_request`. */
export function parseCredential(
  text: string,
): { readonly accessKeyId: string; readonly scope: CredentialScope } | undefined {
  const [accessKeyId, date, region, service, terminator, ...more] = text.split('/')
  if (!accessKeyId || !date || !region || !service || terminator !== 'aws4_request' || more.length)
    return undefined
  return { accessKeyId, scope: { date, region, service } }
}

function parseAuthority(
  authority: string,
  form: HostForm,
): Pick<PresignedToken, 'host' | 'port'> | undefined {
  const [, host, digits] = /^([A-Za-z0-9.-]+)(?::(\d{1,5}))?$/.exec(authority) ?? []
  if (host === undefined || (form === 'host:port') !== (digits !== undefined)) return undefined
  return { host, port: digits === undefined ? undefined : Number(digits) }
}

const REQUIRED = [
  'X-Amz-Algorithm',
  'X-Amz-Credential',
  'X-Amz-Date',
  'X-Amz-Expires',
  'X-Amz-SignedHeaders',
  'X-Amz-Signature',
]

/** More than any signer sends. The limit bounds the cost of encoding and sorting. */
const MAX_PARAMETERS = 32

function parseQuery(query: string): Map<string, string> | string {
  const pairs = query.split('&')
  if (pairs.length > MAX_PARAMETERS) return 'it has too many parameters'
  const parameters = new Map<string, string>()
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    if (equals <= 0) return 'it has a parameter without a name or a value'
    const name = decode(pair.slice(0, equals))
    const value = decode(pair.slice(equals + 1))
    if (name === undefined || value === undefined) return 'it has an invalid percent-encoding'
    // Signer and service could disagree on which of the two counts.
    if (parameters.has(name)) return 'it has a duplicate parameter'
    parameters.set(name, value)
  }
  return parameters
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

export function parseTimestamp(timestamp: string): number | undefined {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(timestamp)
  if (parts === null) return undefined
  const [, year, month, day, hour, minute, second] = parts
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  // `Date` accepts 30 February as 2 March, and 24:00 as the next day.
  return date.getUTCDate() === Number(day) ? date.getTime() : undefined
}
