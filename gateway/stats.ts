/** What a gateway counts. */
import { createHash } from 'node:crypto'
import type { RefusalReason } from './auth/refusal.js'
import type { AcceptedLogin, AcceptedToken } from './auth/verifier.js'

/** Counts since the gateway's start. */
export interface GatewayStats {
  /** TCP connections that are open now, those in the middle of their login among them. */
  readonly connectionsOpen: number
  /** Sessions that are open now. */
  readonly sessionsOpen: number
  readonly loginsAccepted: number
  readonly loginsRefused: number
  /** How many logins were refused, by reason; reasons that did not occur are left out. */
  readonly refusals: Readonly<Partial<Record<RefusalReason, number>>>
  /** How many different tokens were accepted. Of AWS's, those that one key signs within a second for one role are the same text. */
  readonly distinctTokens: number
  /** How often a client asked to cancel a query. */
  readonly cancelRequests: number
  /** How many of these requests named a session. */
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

/** Counts different tokens. An ended one cannot be accepted again, so its fingerprint need not be kept. */
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
      // A hash, so that the counter holds nothing that would be part of a token.
      endings.set(createHash('sha256').update(fingerprint).digest('base64'), expiresAt)
      if (endings.size >= sweepAt) sweep()
    },
    count: () => forgotten + endings.size,
  }
}
