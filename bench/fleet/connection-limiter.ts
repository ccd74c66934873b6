/** Aurora DSQL's limits on the connections of one cluster: a token bucket and a counter. */

export interface ConnectionLimits {
  /** The rate of new connections per second. */
  ratePerSec: number
  /** The burst of new connections. */
  burst: number
  maxOpen: number
  /** The age at which a session is ended, in milliseconds. */
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
  /** Admits a connection and returns `undefined`, or returns the SQLSTATE of the refusal. */
  admit(): RefusalCode | undefined
  /** Releases a connection. */
  release(): void
}

export function createConnectionLimiter(
  { ratePerSec, burst, maxOpen }: ConnectionLimits,
  now: () => number,
): ConnectionLimiter {
  // In thousandths, so that whole milliseconds give integers.
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
