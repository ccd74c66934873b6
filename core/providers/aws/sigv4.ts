/** AWS Signature Version 4 of a presigned request: what tokens are signed with, and what the gateway computes to check one. */

/** What a signing key is made for. */
export interface CredentialScope {
  /** `YYYYMMDD` */
  readonly date: string
  readonly region: string
  readonly service: string
}

export interface PresignedRequest {
  readonly host: string
  /** All of the query but `X-Amz-Signature`, as `canonicalQuery` writes it. */
  readonly query: string
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
  const { hash } = nodeCrypto()
  // A key serves a day, a region and a service, so a handful of them serves all logins.
  const keys = new Map<string, Buffer>()
  const keyFor = (name: string, scope: CredentialScope): Buffer => {
    const known = keys.get(name)
    if (known !== undefined) return known
    // Scopes come from clients that are not yet trusted: they must not be able to fill the memory.
    if (keys.size >= MAX_KEYS) keys.clear()
    const key = signingKey(secretAccessKey, scope)
    keys.set(name, key)
    return key
  }
  return (request) => {
    const scope = scopeName(request.scope)
    const toSign = `AWS4-HMAC-SHA256\n${request.timestamp}\n${scope}\n${hash('sha256', canonicalRequest(request))}`
    return hmac(keyFor(scope, request.scope), toSign)
  }
}

const MAX_KEYS = 16

/** The parameters, encoded and in the order that is signed. */
export function canonicalQuery(parameters: Iterable<readonly [string, string]>): string {
  return (
    [...parameters]
      .map(([name, value]): [string, string] => [encodeRfc3986(name), encodeRfc3986(value)])
      // By code unit, which for encoded text is by byte; a locale would sort otherwise.
      .toSorted(([a, aValue], [b, bValue]) => compare(a, b) || compare(aValue, bValue))
      .map((pair) => pair.join('='))
      .join('&')
  )
}

/** RFC 3986: `encodeURIComponent` leaves out five characters. */
export function encodeRfc3986(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** The scope as it stands in `X-Amz-Credential` and in what is signed. */
export function scopeName({ date, region, service }: CredentialScope): string {
  return `${date}/${region}/${service}/aws4_request`
}

/** A time as it is signed: `20260131T235959Z`. */
export function basicTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')
}

function signingKey(secretAccessKey: string, { date, region, service }: CredentialScope): Buffer {
  const steps = [date, region, service, 'aws4_request']
  return steps.reduce((key: Buffer, step) => hmac(key, step), Buffer.from(`AWS4${secretAccessKey}`))
}

function canonicalRequest(request: PresignedRequest): string {
  const { host, query, payloadHash = EMPTY_BODY, path = '/' } = request
  return `GET\n${path}\n${query}\nhost:${host}\n\nhost\n${payloadHash}`
}

/** SHA-256 of nothing. */
const EMPTY_BODY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function hmac(key: Buffer, text: string): Buffer {
  return nodeCrypto().createHmac('sha256', key).update(text).digest()
}

/** Not at import: to load it takes milliseconds of a cold start, in which perhaps nothing is signed. */
function nodeCrypto(): typeof import('node:crypto') {
  return process.getBuiltinModule('node:crypto')
}
