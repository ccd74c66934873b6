/** AWS Signature Version 4: signs tokens, and computes the signatures that the gateway compares. */
import type { Clock } from '../../tokens/token-source.js'
import { createToken, type Token } from '../../tokens/token.js'
import type { AwsCredentials } from './credentials.js'

/** The scope of a signing key. */
export interface CredentialScope {
  /** `YYYYMMDD` */
  readonly date: string
  readonly region: string
  readonly service: string
}

export interface RequestToSign {
  /** Default `GET`. */
  readonly method?: string
  readonly host: string
  /** The signed headers, with lower-case names in the order of the signature. Default: `host` alone. */
  readonly headers?: readonly (readonly [name: string, value: string])[]
  /** The whole query except `X-Amz-Signature`, as `canonicalQuery` returns it. */
  readonly query: string
  /** `YYYYMMDD'T'HHMMSS'Z'` */
  readonly timestamp: string
  readonly scope: CredentialScope
  /** SHA-256 of the body in hexadecimal, or `UNSIGNED-PAYLOAD`. Default: that of an empty body. */
  readonly payloadHash?: string
  /** Default `/`. */
  readonly path?: string
}

/** Signs requests with one secret access key. */
export type Signer = (request: RequestToSign) => Buffer

/**
 * Creates a signer.
 *
 * See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
export function createSigner(secretAccessKey: string): Signer {
  const { hash } = nodeCrypto()
  // A key is for a day, a region and a service, so all logins use a few keys.
  const keys = new Map<string, Buffer>()
  const keyFor = (name: string, scope: CredentialScope): Buffer => {
    const known = keys.get(name)
    if (known !== undefined) return known
    // Scopes come from clients that are not authenticated yet, so the cache must be limited.
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

/** The parameters, encoded and in canonical order. */
export function canonicalQuery(parameters: Iterable<readonly [string, string]>): string {
  return (
    [...parameters]
      .map(([name, value]): [string, string] => [encodeRfc3986(name), encodeRfc3986(value)])
      // By code unit, which for encoded text is byte order. A locale's order would differ.
      .toSorted(([a, aValue], [b, bValue]) => compare(a, b) || compare(aValue, bValue))
      .map((pair) => pair.join('='))
      .join('&')
  )
}

/** RFC 3986: `encodeURIComponent` does not encode five characters. */
function encodeRfc3986(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** The scope in `X-Amz-Credential` and in the string to sign. */
export function scopeName({ date, region, service }: CredentialScope): string {
  return `${date}/${region}/${service}/aws4_request`
}

/** A time in the format of signatures: `20260131T235959Z`. */
export function basicTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')
}

/** What the secret key is hashed with, one after the other. */
export function signingSteps({ date, region, service }: CredentialScope): readonly string[] {
  return [date, region, service, 'aws4_request']
}

function signingKey(secretAccessKey: string, scope: CredentialScope): Buffer {
  return signingSteps(scope).reduce(
    (key: Buffer, step) => hmac(key, step),
    Buffer.from(`AWS4${secretAccessKey}`),
  )
}

export function canonicalRequest(request: RequestToSign): string {
  const { method = 'GET', host, query, payloadHash = EMPTY_BODY, path = '/' } = request
  const { headers = [['host', host]] } = request
  const lines = headers.map(([name, value]) => `${name}:${value}\n`).join('')
  const names = headers.map(([name]) => name).join(';')
  return `${method}\n${path}\n${query}\n${lines}\n${names}\n${payloadHash}`
}

/** SHA-256 of an empty body. */
const EMPTY_BODY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function hmac(key: Buffer, text: string): Buffer {
  return nodeCrypto().createHmac('sha256', key).update(text).digest()
}

/** Loaded on use, not at import: loading takes milliseconds of a cold start that may sign nothing. */
function nodeCrypto(): typeof import('node:crypto') {
  return process.getBuiltinModule('node:crypto')
}

// The built-in signer of tokens that are presigned requests: Aurora DSQL and RDS.

export interface PresignSettings {
  /** The host that the token is for, or `HOST:PORT`. */
  authority: string
  /** The service prefix in IAM: `dsql`, `rds-db`. */
  service: string
  region: string
  /** The parameters of the action. In alphabetical order their names come before `X-Amz-…`. */
  parameters: Readonly<Record<string, string>>
  durationSecs: number
}

/** Creates a new token per call. It expires with the credentials if they expire first. */
type Presigner = (credentials: AwsCredentials) => Token

/**
 * Creates a presigner. Its tokens are byte for byte those of `@aws-sdk/dsql-signer` and `@aws-sdk/rds-signer`.
 *
 * It is for cold starts and small bundles; docs/aurora-dsql.md has measurements. Signature Version 4 has not changed since 2012.
 */
export function createPresigner(settings: PresignSettings, now: Clock = Date.now): Presigner {
  const nextToken = createUnsignedTokens(settings, now)
  let kept: { readonly credentials: AwsCredentials; readonly sign: Signer } | undefined
  return (credentials) => {
    if (kept?.credentials !== credentials)
      kept = { credentials, sign: createSigner(credentials.secretAccessKey) }
    const { request, signed } = nextToken(credentials)
    return signed(kept.sign(request).toString('hex'))
  }
}

/** A token without its signature. */
interface UnsignedToken {
  readonly request: RequestToSign
  /** @param signature in hexadecimal */
  signed(signature: string): Token
}

/** Returns the function that creates the tokens for `createPresigner` to sign. It keeps what those of one day and one identity share. */
export function createUnsignedTokens(
  settings: PresignSettings,
  now: Clock,
): (credentials: AwsCredentials) => UnsignedToken {
  const { authority, durationSecs } = settings
  let kept: Day | undefined
  return (credentials) => {
    const signedAt = Math.floor(now() / 1_000) * 1_000
    const timestamp = basicTime(signedAt)
    const date = timestamp.slice(0, 8)
    if (kept?.credentials !== credentials || kept.scope.date !== date)
      kept = dayOf(date, credentials, settings)
    const { beforeTime, afterTime, scope } = kept
    const parameters = `${beforeTime}${timestamp}${afterTime}`
    return {
      request: { host: authority, query: `${parameters}&${SIGNED_HEADERS}`, timestamp, scope },
      signed(signature) {
        const value = `${authority}/?${parameters}&X-Amz-Signature=${signature}&${SIGNED_HEADERS}`
        const endsAt = signedAt + durationSecs * 1_000
        const credentialsEndAt = credentials.expiration?.getTime() ?? Infinity
        return createToken(value, new Date(Math.min(endsAt, credentialsEndAt)))
      },
    }
  }
}

const SIGNED_HEADERS = 'X-Amz-SignedHeaders=host'

/** The common parts of the tokens of one day and one identity: everything but the time and the signature. */
interface Day {
  readonly credentials: AwsCredentials
  readonly scope: CredentialScope
  readonly beforeTime: string
  readonly afterTime: string
}

function dayOf(date: string, credentials: AwsCredentials, settings: PresignSettings): Day {
  const { region, service, parameters, durationSecs } = settings
  const { accessKeyId, sessionToken } = credentials
  const scope = { date, region, service }
  const identity = encodeRfc3986(`${accessKeyId}/${scopeName(scope)}`)
  const session =
    sessionToken === undefined ? '' : `&X-Amz-Security-Token=${encodeRfc3986(sessionToken)}`
  return {
    credentials,
    scope,
    // In alphabetical order, which is the order of signing.
    beforeTime: `${canonicalQuery(Object.entries(parameters))}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${identity}&X-Amz-Date=`,
    afterTime: `&X-Amz-Expires=${durationSecs}${session}`,
  }
}
