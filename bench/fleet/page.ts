/** The page of the documentation. */
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

${n(processes)} processes want ${connectionsPerProcess} connections each, and Aurora DSQL admits
[${limits.ratePerSec} new connections a second, after a quiet time ${n(limits.burst)} at once, ${n(limits.maxOpen)} at a time, and for ${limits.maxSessionMs / 60_000} minutes](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html).
What it does not admit it refuses: SQLSTATE 53400 for the rate, 53300 for the count. This is a simulation of it: time, chance and
the network are the simulation's, and what runs for pg-iam is pg-iam's own code, from the pace and the retries of
\`core/connection/\` to its endpoints and lifetimes.

Seed ${seed}, ${date}, ${machine}. \`npm run bench:fleet\` took ${tookSecs} s; \`-- --seed N\` takes another seed, and the same
seed gives the same figures.

${descriptions()}

## Every process starts at once

${markdownTable(tables.start)}

All of them start within one second. "Logins/s, peak" has the accepted and the refused ones, "failed calls" are the errors that
the application got, and the last columns are the time until 99 % and all of the connections were open at once. No policy can
be sooner than the service allows; they differ in what they ask of it meanwhile. With its defaults pg-iam fails a call
that got no connection within \`connectTimeoutMs\`, 30 seconds.

## Lifetimes come round

${markdownTable(tables.lifetimes)}

The same fleets from minute ${START_SECS / 60} to hour ${HOURS}. "New/s" are connections that replace others. A fleet that the service has let in at its limit comes back at its limit when every connection
lives equally long, and leaves nothing for a deployment at that moment. "Ended by the service" are sessions that were cut at
${limits.maxSessionMs / 60_000} minutes, whatever they were doing.

## A Region fails

${markdownTable(tables.regionFails)}

The processes started over ${startedWithinSecs / 60} minutes. In minute ${failsAtSec / 60} all connections to their Region end, and it answers no more. A second Region, with
limits of its own, is the next in the list of hosts. "Not answered" are logins to the Region that is gone. Nobody can know in less than
five seconds that it does not answer.

## The Region returns

${markdownTable(tables.regionReturns)}

It is back in minute ${returnsAtSec / 60}. Connections stay where they are until their age, and new ones go home.

## What is assumed

- A process is busy: there is always a call that waits for each connection, so a place in the pool is filled again at once.
- A login takes 30 to 70 ms, and the service decides at its end. A refusal costs nothing of the rate.
- The rate is a bucket of ${n(limits.burst)} that is refilled continuously; a connection that is closed counts no more at once.
- The client's own work is not simulated: ten thousand TLS handshakes a second are not free, as "immediate retry" has it.
- The policies that know one host only try the hosts in order for each call, and give one five seconds, as pg-iam does.
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
