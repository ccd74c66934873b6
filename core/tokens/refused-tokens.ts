/** Shared tokens that a server refused before they had ended. */
import type { Renewable } from '../create-login.js'
import type { Clock } from './token-source.js'

/**
 * Has a shared token forgotten when a server refuses it: a password that was revoked would else be sent until its end. It asks for
 * another one once a minute at the most, because a user who may not log in at all is refused each time.
 */
export function createRefusedTokens(now: Clock = Date.now): Renewable {
  let forgotten = 0
  let forgottenAt = -Infinity
  return {
    renewAfterRefusal: async () => {
      const since = now() - forgottenAt
      // Connections that were opened together are refused together, and have not tried the new one yet.
      if (since < TOGETHER_MS) return true
      if (since < PAUSE_MS) return false
      forgotten++
      forgottenAt = now()
      return true
    },
    replacements: () => forgotten,
  }
}

const TOGETHER_MS = 5_000
const PAUSE_MS = 60_000
