/** Who takes part in the demo: seven clients, each with a login whose credentials rotate. */
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
 * How long things last, in seconds: so little that a run of some seconds sees all of them end several times, and so much that
 * a token reaches the gateway in time on a machine that is busy with other things.
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

/** What the demo itself counts; what it says of connections and tokens is counted by the login. */
export interface Counts {
  /** Statements that the client was asked for and that succeeded, without BEGIN and COMMIT. */
  queries: number
  notes: number
  transactions: number
  failures: number
  /** What the first failures were. */
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

/** Gives each client a login of its own, so that its connections and tokens are counted apart. Opens nothing yet. */
export function createParticipants(gateway: Gateway): Participant[] {
  return Object.entries(CLIENTS).map(([name, open]) => ({
    name,
    open,
    login: gateway.login({
      credentials: async () => gateway.issueCredentials({ durationSecs: CREDENTIALS_SECS }),
      tokenDurationSecs: TOKEN_SECS,
      maxLifetimeSecs: CONNECTION_SECS,
      // Three transactions of a client want the same two rows all the time.
      retry: { maxAttempts: 100, baseDelayMs: 20 },
    }),
    counts: { queries: 0, notes: 0, transactions: 0, failures: 0, errors: [] },
  }))
}
