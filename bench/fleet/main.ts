/** `npm run bench:fleet [-- --seed N]`: prints the figures, and writes them to docs/ with their charts. */
import { mkdir, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { seedOf } from '../common/command-line.js'
import { describeMachine } from '../common/machine.js'
import { terminalTable } from '../common/report/terminal-table.js'
import { writePage } from '../common/report/write-page.js'
import { HOURS, SAME_AT_START, SAME_WITH_LIFETIMES, runBenchmark, without } from './benchmark.js'
import {
  lifetimesChart,
  regionFailsChart,
  regionReturnsChart,
  startChart,
} from './report/charts.js'
import { page } from './report/page.js'
import {
  lifetimesTable,
  regionFailsTable,
  regionReturnsTable,
  startTable,
} from './report/tables.js'
import { FLEET, HOME } from './scenarios.js'

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
  await mkdir('docs', { recursive: true })
  await writeFile('docs/fleet-start.svg', startChart(start, FLEET))
  await writeFile('docs/fleet-lifetimes.svg', lifetimesChart(lifetimes, FLEET, HOURS))
  await writeFile('docs/fleet-region-fails.svg', regionFailsChart(region, FLEET))
  await writeFile('docs/fleet-region-returns.svg', regionReturnsChart(region, FLEET, HOME))
  await writePage('docs/fleet.md', page({ seed, date, machine, tookSecs, tables }))
  process.stdout.write(
    `\nSeed ${seed}, ${tookSecs} s. Written: docs/fleet.md and docs/fleet-*.svg\n`,
  )
}

await main()
