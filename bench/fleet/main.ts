/** `npm run bench:fleet [-- --seed N]`: prints the figures, and writes them to docs/fleet.md. */
import { parseArgs } from 'node:util'
import { seedOf } from '../../test/support/seeded-random.js'
import { describeMachine, terminalTable, writePage } from '../report.js'
import { HOURS, SAME_AT_START, SAME_WITH_LIFETIMES, runBenchmark, without } from './benchmark.js'
import { page } from './page.js'
import { lifetimesTable, regionFailsTable, regionReturnsTable, startTable } from './tables.js'
import { FLEET } from './scenarios.js'

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { seed: { type: 'string', default: '1' } } })
  const seed = seedOf(values.seed)

  const startedAt = Date.now()
  const records = await runBenchmark(seed, (line) => process.stderr.write(`${line}\n`))
  const start = without(records.start, SAME_AT_START)
  const lifetimes = without(records.start, SAME_WITH_LIFETIMES)
  const { region } = records
  const tookSecs = Math.round((Date.now() - startedAt) / 1_000)

  const tables = {
    start: startTable(start, FLEET),
    lifetimes: lifetimesTable(lifetimes, HOURS),
    regionFails: regionFailsTable(region, FLEET),
    regionReturns: regionReturnsTable(region),
  }
  for (const table of Object.values(tables)) process.stdout.write(`\n${terminalTable(table)}`)

  const date = new Date(startedAt).toISOString().slice(0, 10)
  const machine = await describeMachine('.')
  await writePage('docs/fleet.md', page({ seed, date, machine, tookSecs, tables }))
  process.stdout.write(`\nSeed ${seed}, ${tookSecs} s. Written: docs/fleet.md\n`)
}

await main()
