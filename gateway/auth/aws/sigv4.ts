/** AWS Signature Version 4 of a presigned request, computed as the service does that checks it. */
import { createHash, createHmac } from 'node:crypto'

/** What a signing key is made for. */
export interface CredentialScope {
  /** `YYYYMMDD` */
  readonly date: string
  readonly region: string
  readonly service: string
}

export interface PresignedRequest {
  readonly host: string
  /** Decoded parameters, without `X-Amz-Signature`. */
  readonly parameters: ReadonlyMap<string, string>
  /** `YYYYMMDD'T'HHMMSS'Z'` */
  readonly timestamp: string
  readonly scope: CredentialScope
  /** SHA-256 of the body in hexadecimal, or `UNSIGNED-PAYLOAD`. Default: of an empty body. */
  readonly payloadHash?: string
  /** Default `/`. */
  readonly path?: string
}

/** Signs requests with one secret access key. */
export type Signer = (request: PresignedRequest) => Buffer

/**
 * Creates a signer for `GET` requests whose only signed header is `host`.
 *
 * See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
export function createSigner(secretAccessKey: string): Signer {
  // A key serves a day, a region and a service, so a handful of them serves all logins.
  const keys = new Map<string, Buffer>()
  const keyFor = (scope: CredentialScope): Buffer => {
    const name = scopeName(scope)
    const known = keys.get(name)
    if (known !== undefined) return known
    // Scopes come from clients that are not yet trusted: they must not be able to fill the memory.
    if (keys.size >= MAX_KEYS) keys.clear()
    const key = signingKey(secretAccessKey, scope)
    keys.set(name, key)
    return key
  }
  return (request) => hmac(keyFor(request.scope), stringToSign(request))
}

const MAX_KEYS = 16

function scopeName({ date, region, service }: CredentialScope): string {
  return `${date}/${region}/${service}/aws4_request`
}

function signingKey(secretAccessKey: string, { date, region, service }: CredentialScope): Buffer {
  const steps = [date, region, service, 'aws4_request']
  return steps.reduce((key: Buffer, step) => hmac(key, step), Buffer.from(`AWS4${secretAccessKey}`))
}

function stringToSign(request: PresignedRequest): string {
  const hash = createHash('sha256').update(canonicalRequest(request)).digest('hex')
  return ['AWS4-HMAC-SHA256', request.timestamp, scopeName(request.scope), hash].join('\n')
}

function canonicalRequest(request: PresignedRequest): string {
  const { host, parameters, payloadHash = EMPTY_BODY, path = '/' } = request
  const query = [...parameters]
    .map(([name, value]): [string, string] => [encode(name), encode(value)])
    // By code unit, which for encoded text is by byte; a locale would sort otherwise.
    .toSorted(([a, aValue], [b, bValue]) => compare(a, b) || compare(aValue, bValue))
    .map((pair) => pair.join('='))
    .join('&')
  return ['GET', path, query, `host:${host}`, '', 'host', payloadHash].join('\n')
}

const EMPTY_BODY = createHash('sha256').digest('hex')

function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

/** RFC 3986: `encodeURIComponent` leaves out five characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
