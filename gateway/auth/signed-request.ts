/** Verifies the signatures of requests to AWS's APIs: Signature Version 4 in the `Authorization` header. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { type CredentialScope, basicTime } from '../../core/providers/aws/sigv4.js'
import type { Principal, Principals } from './aws.js'
import {
  checkSession,
  fault,
  MAX_AHEAD_MS,
  parseCredential,
  parseTimestamp,
  type TokenFault,
} from './presigned.js'

/** A `POST` request to the path `/`. */
export interface SignedRequest {
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** Who has signed a request. */
export interface RequestSigner {
  readonly scope: CredentialScope
  /** The principal of the access key in each store that has it, at least one. */
  readonly principals: readonly [Principal, ...Principal[]]
}

/**
 * Verifies a request. As for tokens, the signature comes first, so that the other reasons reveal nothing to a client without the secret key.
 *
 * @param stores the principals of all endpoints: one access key may be in several
 * @param now epoch milliseconds
 */
export function checkSignedRequest(
  request: SignedRequest,
  stores: readonly Principals[],
  now: number,
): RequestSigner | TokenFault {
  const signature = parseSignature(request)
  if (typeof signature === 'string') return fault('token-malformed', signature)
  if (signature === undefined) return fault('token-missing', 'the request is not signed')
  const { accessKeyId, scope } = signature
  const known = stores.flatMap((store) => store.find(accessKeyId) ?? [])
  if (known.length === 0)
    return stores.some((store) => store.wasRevoked(accessKeyId))
      ? fault('access-key-revoked', 'the access key was revoked')
      : fault('access-key-unknown', 'no principal of the gateway has the access key')
  const [signer, ...others] = known.filter(({ sign }) => isSignedWith(sign, request, signature))
  if (signer === undefined)
    return fault('signature-wrong', 'the signature does not match the secret access key')
  return (
    checkSession(signature, signer, now) ??
    checkTime(signature, now) ?? { scope, principals: [signer, ...others] }
  )
}

interface Signature {
  readonly accessKeyId: string
  readonly scope: CredentialScope
  readonly timestamp: string
  readonly signedAt: number
  readonly sessionToken: string | undefined
  readonly signedHeaders: readonly string[]
  readonly signature: Buffer
}

/** Returns a sentence for a malformed signature, and `undefined` if there is none. */
function parseSignature({ headers }: SignedRequest): Signature | string | undefined {
  const { authorization } = headers
  if (authorization === undefined) return undefined
  const [, credentialText = '', names = '', hex = ''] =
    /^AWS4-HMAC-SHA256 Credential=([^, ]+), ?SignedHeaders=([^, ]+), ?Signature=([0-9a-f]{64})$/.exec(
      authorization,
    ) ?? []
  if (hex === '')
    return 'the header "Authorization" is not AWS4-HMAC-SHA256 with Credential, SignedHeaders and Signature'
  const credential = parseCredential(credentialText)
  if (credential === undefined) return 'the credential is not KEY/DATE/REGION/SERVICE/aws4_request'
  const timestamp = headerOf(headers, 'x-amz-date')
  const signedAt = parseTimestamp(timestamp)
  if (signedAt === undefined) return 'the header "X-Amz-Date" has no valid date'
  const signedHeaders = names.split(';')
  const required = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))]
  const unsigned = required.find((name) => !signedHeaders.includes(name))
  if (unsigned !== undefined) return 'the headers "Host" and "X-Amz-..." are not all signed'
  return {
    ...credential,
    timestamp,
    signedAt,
    sessionToken: headers['x-amz-security-token'] as string | undefined,
    signedHeaders,
    signature: Buffer.from(hex, 'hex'),
  }
}

function isSignedWith(
  sign: Principal['sign'],
  { headers, body }: SignedRequest,
  { signedHeaders, timestamp, scope, signature }: Signature,
): boolean {
  const expected = sign({
    method: 'POST',
    host: headerOf(headers, 'host'),
    headers: signedHeaders.map((name) => [name, headerOf(headers, name)]),
    query: '',
    timestamp,
    scope,
    payloadHash: createHash('sha256').update(body).digest('hex'),
  })
  return timingSafeEqual(expected, signature)
}

/** As it is signed: without spaces at the ends, and with single ones inside. */
function headerOf(headers: IncomingHttpHeaders, name: string): string {
  return String(headers[name] ?? '')
    .trim()
    .replaceAll(/ +/g, ' ')
}

function checkTime({ timestamp, scope, signedAt }: Signature, now: number): TokenFault | undefined {
  if (scope.date !== timestamp.slice(0, 8))
    return fault(
      'date-inconsistent',
      'the date of the signing key differs from that of the request',
    )
  if (signedAt < now - MAX_AHEAD_MS)
    return fault(
      'token-expired',
      `Signature expired: ${timestamp} is now earlier than ${basicTime(now - MAX_AHEAD_MS)}`,
    )
  if (signedAt > now + MAX_AHEAD_MS)
    return fault(
      'token-from-future',
      `Signature not yet current: ${timestamp} is still later than ${basicTime(now + MAX_AHEAD_MS)}`,
    )
  return undefined
}
