/** The counters of a gateway. */
import { createHash } from 'node:crypto'
import type { RefusalReason } from './auth/refusal.js'
import type { AcceptedLogin, AcceptedToken } from './auth/verifier.js'

/** Counters since the start of the gateway. */
export interface GatewayStats {
  /** TCP connections that are currently open, including those that have not logged in yet. */
  readonly connectionsOpen: number
  /** Sessions that are currently open. */
  readonly sessionsOpen: number
  readonly loginsAccepted: number
  readonly loginsRefused: number
  /** The number of refused logins by reason. Reasons that did not occur are omitted. */
  readonly refusals: Readonly<Partial<Record<RefusalReason, number>>>
  /** The number of distinct accepted tokens. AWS tokens that one key signs for one role within the same second are identical. */
  readonly distinctTokens: number
  /** The number of cancel requests. */
  readonly cancelRequests: number
  /** The number of cancel requests with the key of an open session. */
  readonly cancelsDelivered: number
}

export interface StatsRecorder {
  connectionOpened(): void
  connectionClosed(): void
  loginAccepted(login: AcceptedLogin): void
  sessionEnded(): void
  loginRefused(reason: RefusalReason): void
  cancelRequested(delivered: boolean): void
  read(): GatewayStats
}

/** @param clock epoch milliseconds */
export function createStats(clock: () => number): StatsRecorder {
  let connectionsOpen = 0
  let sessionsOpen = 0
  let loginsAccepted = 0
  let loginsRefused = 0
  let cancelRequests = 0
  let cancelsDelivered = 0
  const refusals: Partial<Record<RefusalReason, number>> = {}
  const tokens = createTokenCounter(clock)
  return {
    connectionOpened: () => void connectionsOpen++,
    connectionClosed: () => void connectionsOpen--,
    loginAccepted({ token }) {
      loginsAccepted++
      sessionsOpen++
      if (token !== undefined) tokens.add(token)
    },
    sessionEnded: () => void sessionsOpen--,
    loginRefused(reason) {
      loginsRefused++
      refusals[reason] = (refusals[reason] ?? 0) + 1
    },
    cancelRequested(delivered) {
      cancelRequests++
      if (delivered) cancelsDelivered++
    },
    read: () => ({
      connectionsOpen,
      sessionsOpen,
      loginsAccepted,
      loginsRefused,
      refusals: { ...refusals },
      distinctTokens: tokens.count(),
      cancelRequests,
      cancelsDelivered,
    }),
  }
}

/** Counts distinct tokens. An expired token cannot be accepted again, so its fingerprint is dropped. */
function createTokenCounter(clock: () => number): {
  add(token: AcceptedToken): void
  count(): number
} {
  const endings = new Map<string, number>()
  let forgotten = 0
  let sweepAt = 1_000
  const sweep = (): void => {
    const now = clock()
    for (const [fingerprint, expiresAt] of endings) {
      if (expiresAt > now) continue
      endings.delete(fingerprint)
      forgotten++
    }
    sweepAt = Math.max(1_000, endings.size * 2)
  }
  return {
    add({ fingerprint, expiresAt }) {
      // Hashed, so that the counter holds no part of a token.
      endings.set(createHash('sha256').update(fingerprint).digest('base64'), expiresAt)
      if (endings.size >= sweepAt) sweep()
    },
    count: () => forgotten + endings.size,
  }
}
