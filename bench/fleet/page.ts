/** The text of docs/fleet.md. */
import { markdownTable, type FigureTable } from '../report.js'
import { FAILED_OVER, HOURS, STARTED } from './benchmark.js'
import { FLEET, REGION_TIMES, START_SECS } from './scenarios.js'

export interface PageContent {
  seed: number
  date: string
  machine: string
  tookSecs: number
  tables: Record<'start' | 'lifetimes' | 'regionFails' | 'regionReturns', FigureTable>
}

export function page({ seed, date, machine, tookSecs, tables }: PageContent): string {
  const { limits, processes, connectionsPerProcess } = FLEET
  const { startedWithinSecs, failsAtSec, returnsAtSec } = REGION_TIMES
  return `<!-- Written by \`npm run bench:fleet\`. -->

# A fleet against the limits of Aurora DSQL

${n(processes)} processes open ${connectionsPerProcess} connections each, and Aurora DSQL allows
[${limits.ratePerSec} new connections per second, bursts of ${n(limits.burst)}, ${n(limits.maxOpen)} open connections, and sessions of ${limits.maxSessionMs / 60_000} minutes](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html).
It refuses other connections: with SQLSTATE 53400 for the rate, and 53300 for the number. This page is the result of a simulation. Time,
randomness and the network are simulated, but for pg-iam its own code runs: rate limit, retries, endpoints and lifetimes of
\`core/connection/\`.

Seed ${seed}, ${date}, ${machine}. \`npm run bench:fleet\` took ${tookSecs} s; \`-- --seed N\` sets another seed. The same
seed gives the same figures.

${descriptions()}

## Every process starts at once

${markdownTable(tables.start)}

All processes start within one second. "Logins/s, peak" includes accepted and refused logins, "failed calls" are the errors that the
application got, and the last columns are the times until 99 % and all of the connections were open simultaneously. No policy can be
faster than the service allows, but they differ in the load that they cause. With its defaults, pg-iam fails a call that gets no
connection within \`connectTimeoutMs\`, 30 seconds.

## Lifetimes come round

${markdownTable(tables.lifetimes)}

The same fleets from minute ${START_SECS / 60} to hour ${HOURS}. "New/s" are connections that replace others. If all connections have the same lifetime, a fleet that was
started at the rate limit reconnects at the rate limit, and leaves no capacity for a deployment at that time. "Ended by the service" are
sessions that were cut at ${limits.maxSessionMs / 60_000} minutes, even if they were in use.

## A Region fails

${markdownTable(tables.regionFails)}

The processes started over ${startedWithinSecs / 60} minutes. In minute ${failsAtSec / 60} all connections to their Region end, and it no longer responds. A second Region, with
its own limits, is the next in the list of hosts. "Not answered" are logins to the failed Region. A client needs five seconds to detect
that the Region does not respond.

## The Region returns

${markdownTable(tables.regionReturns)}

The Region recovers in minute ${returnsAtSec / 60}. Existing connections stay in the second Region until their lifetime ends, and new ones go to the first.

## What is assumed

- Processes are busy: there is always a call that waits for each connection, so a pool slot is filled again immediately.
- A login takes 30 to 70 ms, and the service decides at its end. Refused logins do not count towards the rate.
- The rate limit is a token bucket of ${n(limits.burst)} that is refilled continuously. A closed connection stops counting immediately.
- The client's CPU time is not simulated, so ten thousand TLS handshakes per second cost nothing for "immediate retry".
- The policies that support only one host try the hosts in order for each call, with a time limit of five seconds as in pg-iam.
`
}

function descriptions(): string {
  const shown = [...new Set([...STARTED, ...FAILED_OVER])].toReversed()
  const named = shown.map(({ name, description }) => `- **${name}**: ${description}`)
  return [...new Set(named)].join('\n')
}

function n(value: number): string {
  return value.toLocaleString('en-GB')
}
