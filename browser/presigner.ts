/** The built-in signer for browsers: Signature Version 4 on WebCrypto, which is asynchronous. */
import type { AwsCredentials } from '../core/providers/aws/credentials.js'
import {
  canonicalRequest,
  createUnsignedTokens,
  type CredentialScope,
  type PresignSettings,
  scopeName,
  signingSteps,
} from '../core/providers/aws/sigv4.js'
import type { Clock } from '../core/tokens/token-source.js'
import type { Token } from '../core/tokens/token.js'

/** As `createPresigner` of Node, which the build for browsers replaces with this one. */
export function createPresigner(
  settings: PresignSettings,
  now: Clock = Date.now,
): (credentials: AwsCredentials) => Promise<Token> {
  const nextToken = createUnsignedTokens(settings, now)
  return async (credentials) => {
    const { request, signed } = nextToken(credentials)
    const scope = scopeName(request.scope)
    const hash = hex(await crypto.subtle.digest('SHA-256', bytes(canonicalRequest(request))))
    const key = await signingKey(credentials.secretAccessKey, request.scope)
    const toSign = `AWS4-HMAC-SHA256\n${request.timestamp}\n${scope}\n${hash}`
    return signed(hex(await hmac(key, toSign)))
  }
}

type Bytes = Uint8Array<ArrayBuffer>

async function signingKey(secretAccessKey: string, scope: CredentialScope): Promise<Bytes> {
  let key = bytes(`AWS4${secretAccessKey}`)
  for (const step of signingSteps(scope)) key = new Uint8Array(await hmac(key, step))
  return key
}

async function hmac(key: Bytes, text: string): Promise<ArrayBuffer> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const imported = await crypto.subtle.importKey('raw', key, algorithm, false, ['sign'])
  return crypto.subtle.sign('HMAC', imported, bytes(text))
}

const bytes = (text: string): Bytes => new TextEncoder().encode(text)

const hex = (data: ArrayBuffer): string =>
  [...new Uint8Array(data)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
