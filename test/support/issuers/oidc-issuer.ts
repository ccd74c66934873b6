/** An OpenID Connect issuer on loopback: discovery, published keys, and ID tokens. */
import type { JWTPayload } from 'jose'
import { startLoopback } from './loopback-server.js'
import { createSigningKeys, type SigningKeys, type SigningOptions } from './signing-keys.js'

export interface OidcIssuer {
  readonly url: string
  readonly keys: SigningKeys
  /** Returns an ID token with these claims in addition to the usual ones, or without those that are `undefined`. */
  token(claims?: Readonly<Record<string, unknown>>, options?: SigningOptions): Promise<string>
  close(): Promise<void>
}

/** Starts it. Its tokens are for the audience `shop`, and valid for five minutes. */
export async function startOidcIssuer(algorithm = 'RS256'): Promise<OidcIssuer> {
  const keys = await createSigningKeys(algorithm)
  const { url, close } = await startLoopback(({ path }) => {
    switch (path) {
      case '/.well-known/openid-configuration':
        return { body: { issuer: url, jwks_uri: `${url}/keys` } }
      case '/keys':
        return { body: keys.published() }
      default:
        return { status: 404, body: 'not found' }
    }
  })
  return {
    url,
    keys,
    token(claims = {}, options = {}) {
      const now = Math.floor(Date.now() / 1_000)
      const usual = { iss: url, aud: 'shop', sub: 'alice', iat: now, exp: now + 300 }
      return keys.sign({ ...usual, ...claims } as JWTPayload, options)
    },
    close,
  }
}
