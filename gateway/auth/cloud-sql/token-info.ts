/** What Google says of an access token, which says nothing by itself. */

export interface TokenInfo {
  /** Whose it is. */
  readonly email: string
  readonly scopes: readonly string[]
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

/** Resolves with `undefined` for a token that nobody knows, or does not know any more. Rejects where that cannot be found out. */
export type TokenInfoSource = (token: string) => Promise<TokenInfo | undefined>

/**
 * Asks Google, or what stands in for it, as `getTokenInfo` of google-auth-library does: the token is in a header, where it does not
 * get into logs of addresses.
 */
export function remoteTokenInfo(url: string): TokenInfoSource {
  return async (token) => {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/x-www-form-urlencoded',
      },
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (response.status === 400) return undefined
    if (!response.ok) throw new Error(`the token info came with status ${response.status}`)
    return parseTokenInfo(await response.json())
  }
}

const TIMEOUT_MS = 5_000

/** Google writes numbers and truth as text. */
function parseTokenInfo(answer: unknown): TokenInfo {
  const { email, email_verified: verified, scope, exp } = (answer ?? {}) as Record<string, unknown>
  const expiresAt = Number(exp) * 1_000
  if (typeof email !== 'string' || String(verified) === 'false')
    throw new Error('the token info name no e-mail address that was verified')
  if (typeof scope !== 'string' || !(expiresAt > 0))
    throw new Error('the token info have no scope or no end')
  return { email, scopes: scope.split(' '), expiresAt }
}
