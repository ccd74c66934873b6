/** The participants of the demo: all clients, each with a login whose credentials rotate. */
import type { Login } from 'pg-iam'
import type { Gateway } from 'pg-iam/gateway'
import type { Client } from '../../test/clients/client.js'
import { CLIENT_NAMES, loadClient } from '../../test/clients/index.js'

/** Over WebSocket, Postgres.js has the same connections and tokens. */
const OVER_TCP = CLIENT_NAMES.filter((name) => name !== 'postgres-js-websocket')

/**
 * Lifetimes in seconds: short enough to expire several times in a run of a few seconds, and long enough that a token reaches the
 * gateway in time on a busy machine.
 */
export const TOKEN_SECS = 5
export const CONNECTION_SECS = 6
export const CREDENTIALS_SECS = 10

export interface Participant {
  readonly client: Client
  readonly login: Login
  readonly counts: Counts
}

/** The demo's own counters. Connections and tokens are counted by the login. */
export interface Counts {
  /** Successful statements of the client, without BEGIN and COMMIT. */
  queries: number
  notes: number
  transactions: number
  failures: number
  /** The messages of the first failures. */
  readonly errors: unknown[]
}

/** Gives each client a separate login, so that its connections and tokens are counted separately. Opens no connections. */
export async function createParticipants(gateway: Gateway): Promise<Participant[]> {
  const clients = await Promise.all(OVER_TCP.map(loadClient))
  return clients.map((client) => ({
    client,
    login: gateway.login({
      credentials: async () => gateway.issueCredentials({ durationSecs: CREDENTIALS_SECS }),
      tokenDurationSecs: TOKEN_SECS,
      maxLifetimeSecs: CONNECTION_SECS,
      // Three transactions of a client compete for the same two rows.
      retry: { maxAttempts: 100, baseDelayMs: 20 },
    }),
    counts: { queries: 0, notes: 0, transactions: 0, failures: 0, errors: [] },
  }))
}
