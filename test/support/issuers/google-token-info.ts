/** An emulation of Google's endpoint that returns the account of an access token. */
import type { GoogleTokens } from './google-tokens.js'
import { startLoopback, type LoopbackAnswer } from './loopback-server.js'

export interface GoogleTokenInfo {
  readonly url: string
  readonly requests: readonly string[]
  /** Overrides the responses to the next requests, until it returns `undefined`. */
  intercept(answer: () => LoopbackAnswer | undefined): void
  close(): Promise<void>
}

/** Starts it. It accepts the token as Google's SDK sends it: as a bearer token of a POST. */
export async function startGoogleTokenInfo(
  tokens: GoogleTokens,
  now: () => number = Date.now,
): Promise<GoogleTokenInfo> {
  const requests: string[] = []
  let intercept: () => LoopbackAnswer | undefined = () => undefined
  const server = await startLoopback(({ method, path, headers }) => {
    requests.push(`${method} ${path}`)
    const intercepted = intercept()
    if (intercepted !== undefined) return intercepted
    const value = headers.authorization?.replace(/^Bearer /, '') ?? ''
    const token = tokens.find(value)
    if (method !== 'POST' || path !== '/tokeninfo') return { status: 404, body: 'not found' }
    // Google does not distinguish expired tokens from unknown ones.
    if (token === undefined || token.expiresAt <= now())
      return {
        status: 400,
        body: { error: 'invalid_token', error_description: 'Invalid Value' },
      }
    const { email, scopes, expiresAt } = token
    return {
      body: {
        azp: '103400000000000000001',
        aud: '103400000000000000001',
        scope: scopes.join(' '),
        exp: String(Math.floor(expiresAt / 1_000)),
        expires_in: String(Math.floor((expiresAt - now()) / 1_000)),
        email,
        email_verified: 'true',
        access_type: 'online',
      },
    }
  })
  return {
    url: `${server.url}/tokeninfo`,
    requests,
    intercept: (answer) => void (intercept = answer),
    close: () => server.close(),
  }
}
