/** A verifier of Entra ID tokens with known keys and principals. */
import {
  createEntraVerifier,
  type EntraVerifierSettings,
} from '../../../../gateway/auth/entra/verifier.js'
import { createPublishedKeys, type KeySource } from '../../../../gateway/auth/published-keys.js'
import type { Refusal } from '../../../../gateway/auth/refusal.js'
import type { Verdict } from '../../../../gateway/auth/verifier.js'
import {
  AUDIENCE,
  entraClaims,
  type EntraClaims,
  OBJECT_ID,
  TENANT,
} from '../../../support/issuers/entra-claims.js'
import type { SigningKeys, SigningOptions } from '../../../support/issuers/signing-keys.js'

/** The issue time of the tokens in these tests, in epoch milliseconds. */
export const NOW: number = Date.UTC(2026, 0, 31, 12)

export const ISSUER: string = `https://sts.windows.net/${TENANT}/`

export interface EntraSetting {
  /** Signs the usual claims and these. */
  token(claims?: EntraClaims, options?: SigningOptions): Promise<string>
  verdict(token: string, own?: Partial<EntraVerifierSettings> & { role?: string }): Promise<Verdict>
  /** Returns `accepted`, or the reason of the refusal. */
  reason(token: string, own?: Partial<EntraVerifierSettings> & { role?: string }): Promise<string>
  /** The refusal of a token that must be refused. */
  refusal(token: string, own?: Partial<EntraVerifierSettings> & { role?: string }): Promise<Refusal>
}

/** @param source default: the keys, read for each login */
export function entraSetting(
  keys: SigningKeys,
  source: KeySource = { read: keys.published },
): EntraSetting {
  const published = createPublishedKeys(source)
  const verdict: EntraSetting['verdict'] = async (token, { role = 'app', ...own } = {}) => {
    const verifier = createEntraVerifier({
      tenantId: TENANT,
      audiences: [AUDIENCE],
      issuers: [ISSUER],
      keys: published,
      principals: [{ objectId: OBJECT_ID, roles: ['app', 'ghost'] }],
      clock: () => NOW,
      ...own,
    })
    return verifier.verify({ token, role, database: 'postgres', servername: undefined })
  }
  return {
    token: (claims, options) => keys.sign(entraClaims(claims, NOW), options),
    verdict,
    async reason(token, own) {
      const answer = await verdict(token, own)
      return 'refused' in answer ? answer.refused.reason : 'accepted'
    },
    async refusal(token, own) {
      const answer = await verdict(token, own)
      if ('refused' in answer) return answer.refused
      throw new Error('it was accepted')
    },
  }
}
