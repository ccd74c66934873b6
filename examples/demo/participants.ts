/** The participants of the demo: seven clients, each with a login whose credentials rotate. */
import type { Login } from 'pg-iam'
import type { Gateway } from 'pg-iam/gateway'
import { openDrizzlePostgresJs } from './clients/drizzle-postgres-js.js'
import { openDrizzle } from './clients/drizzle.js'
import { openKnex } from './clients/knex.js'
import { openPg } from './clients/pg.js'
import { openPostgresJs } from './clients/postgres-js.js'
import { openSequelize } from './clients/sequelize.js'
import { openTypeorm } from './clients/typeorm.js'
import type { OpenDemoClient } from './demo-client.js'

/**
 * Lifetimes in seconds: short enough to expire several times in a run of a few seconds, and long enough that a token reaches the
 * gateway in time on a busy machine.
 */
export const TOKEN_SECS = 5
export const CONNECTION_SECS = 6
export const CREDENTIALS_SECS = 10

export interface Participant {
  readonly name: string
  readonly open: OpenDemoClient
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

const CLIENTS: Readonly<Record<string, OpenDemoClient>> = {
  sequelize: openSequelize,
  typeorm: openTypeorm,
  knex: openKnex,
  drizzle: openDrizzle,
  'drizzle-postgres-js': openDrizzlePostgresJs,
  pg: openPg,
  'postgres-js': openPostgresJs,
}

/** Gives each client a separate login, so that its connections and tokens are counted separately. Opens no connections. */
export function createParticipants(gateway: Gateway): Participant[] {
  return Object.entries(CLIENTS).map(([name, open]) => ({
    name,
    open,
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
