/** The gateway as the giver of access tokens, where it is told of no other: for development without Google Cloud. */
import { randomBytes } from 'node:crypto'
import type { GoogleAuthClient } from '../../../core/providers/cloud-sql/credential.js'
import { LOGIN_SCOPE } from '../../../core/providers/cloud-sql/credential.js'
import type { TokenInfo, TokenInfoSource } from './token-info.js'

export interface OwnTokens {
  readonly info: TokenInfoSource
  /** Gives tokens of the one account that it was made for. */
  readonly client: GoogleAuthClient & { readonly email: string }
}

/** @param clock epoch milliseconds */
export function createOwnTokens(email: string, clock: () => number): OwnTokens {
  const given = new Map<string, TokenInfo>()
  const credentials: { expiry_date?: number } = {}
  const forgetEnded = (): void => {
    for (const [token, { expiresAt }] of given) if (expiresAt <= clock()) given.delete(token)
  }
  return {
    info: (token) => Promise.resolve(given.get(token)),
    client: {
      email,
      credentials,
      getAccessToken() {
        forgetEnded()
        const token = `ya29.gateway.${randomBytes(48).toString('base64url')}`
        credentials.expiry_date = clock() + LIFE_MS
        given.set(token, { email, scopes: [LOGIN_SCOPE], expiresAt: credentials.expiry_date })
        return Promise.resolve({ token })
      },
    },
  }
}

const LIFE_MS = 3_600_000
