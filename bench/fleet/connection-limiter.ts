/** Aurora DSQL's limits on the connections of one cluster, as a token bucket and a count. */

export interface ConnectionLimits {
  /** New connections a second, refilled continuously. */
  ratePerSec: number
  /** New connections at once, after a quiet time. */
  burst: number
  maxOpen: number
  /** The age, in milliseconds, at which a session is ended. */
  maxSessionMs: number
}

/** See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html */
export const AURORA_DSQL_LIMITS: ConnectionLimits = {
  ratePerSec: 100,
  burst: 1_000,
  maxOpen: 10_000,
  maxSessionMs: 3_600_000,
}

/** "Too many open connections" and "rate exceeded". */
export type RefusalCode = '53300' | '53400'

export interface ConnectionLimiter {
  /** Takes a place and returns `undefined`, or the SQLSTATE of the refusal, which takes nothing. */
  admit(): RefusalCode | undefined
  /** Gives a place back. */
  release(): void
}

export function createConnectionLimiter(
  { ratePerSec, burst, maxOpen }: ConnectionLimits,
  now: () => number,
): ConnectionLimiter {
  // In thousandths, so that whole milliseconds give whole numbers.
  let tokens = burst * 1_000
  let filledAt = 0
  let open = 0
  return {
    admit() {
      tokens = Math.min(burst * 1_000, tokens + (now() - filledAt) * ratePerSec)
      filledAt = now()
      if (open >= maxOpen) return '53300'
      if (tokens < 1_000) return '53400'
      tokens -= 1_000
      open++
      return undefined
    },
    release() {
      open--
    },
  }
}
