/** Google's access tokens: opaque strings that only Google can resolve. */
import { randomBytes } from 'node:crypto'

export interface GoogleToken {
  readonly value: string
  readonly email: string
  readonly scopes: readonly string[]
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

export interface GoogleTokens {
  issue(email: string, options?: { scopes?: readonly string[]; lifeSecs?: number }): GoogleToken
  find(value: string): GoogleToken | undefined
  /** Removes a token, as Google does when it is revoked. */
  revoke(value: string): void
}

export const LOGIN_SCOPE = 'https://www.googleapis.com/auth/sqlservice.login'
export const EMAIL_SCOPE = 'https://www.googleapis.com/auth/userinfo.email'

/** @param now epoch milliseconds */
export function createGoogleTokens(now: () => number = Date.now): GoogleTokens {
  const tokens = new Map<string, GoogleToken>()
  return {
    issue(email, { scopes = [LOGIN_SCOPE, EMAIL_SCOPE], lifeSecs = 3_600 } = {}) {
      const value = `ya29.c.${randomBytes(96).toString('base64url')}`
      const token = { value, email, scopes, expiresAt: now() + lifeSecs * 1_000 }
      tokens.set(value, token)
      return token
    },
    find: (value) => tokens.get(value),
    revoke: (value) => void tokens.delete(value),
  }
}
