/** Limits open sessions and new ones a second, as Aurora DSQL does. */
import { fatal } from '../auth/refusal.js'
import type { ServerError } from '../wire/server-error.js'
import type { ConnectionLimits } from './fault-options.js'

export interface ConnectionLimiter {
  /** Lets one more session in, or says with which error it is refused. */
  admit(openSessions: number): ServerError | undefined
}

/**
 * A token bucket: full at first, refilled steadily. Texts and SQLSTATEs are those of
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
 */
export function createConnectionLimiter(
  { max, perSecond, burst = perSecond }: ConnectionLimits,
  now: () => number,
): ConnectionLimiter {
  const capacity = Math.max(1, burst ?? Infinity)
  let level = capacity
  let filledAt = now()
  return {
    admit(openSessions) {
      if (max !== undefined && openSessions >= max) {
        return fatal('53300', 'Unable to accept connection, too many open connections.')
      }
      if (perSecond === undefined) return undefined
      const time = now()
      level = Math.min(capacity, level + ((time - filledAt) / 1_000) * perSecond)
      filledAt = time
      if (level < 1) return fatal('53400', 'Unable to accept connection, rate exceeded.')
      level--
      return undefined
    },
  }
}
