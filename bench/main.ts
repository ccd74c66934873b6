/**
 * `npm run bench`, and `npm run bench:queries` and the like for one of them.
 *
 * Exit codes: 0 when all was measured, 1 otherwise, 2 for a command line that it does not understand.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connects } from './connects/connects.js'
import { USAGE_OF_OPTIONS, benchOptions, type BenchOptions } from './frame/bench-options.js'
import type { Benchmark } from './frame/benchmark.js'
import { forgetCloud } from './frame/surroundings.js'
import { ratioChart } from './frame/report/ratio-chart.js'
import { runText } from './frame/report/text.js'
import { runBenchmarks, type BenchRun } from './frame/run-benchmarks.js'
import { queries } from './queries/queries.js'
import { start } from './start/start.js'
import { tokens } from './tokens/tokens.js'

const BENCHMARKS: readonly Benchmark[] = [queries, connects, tokens, start]

async function main(words: readonly string[]): Promise<number> {
  let options: BenchOptions
  try {
    options = benchOptions(
      words,
      BENCHMARKS.map(({ name }) => name),
    )
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage()}\n`)
    return 2
  }
  forgetCloud(process.env)
  const chosen = BENCHMARKS.filter(({ name }) => options.names.includes(name))
  const run = await runBenchmarks(chosen, options, (line) => void process.stderr.write(`${line}\n`))
  process.stdout.write(runText(run))
  if (options.json !== undefined)
    await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`)
  if (options.svg !== undefined) await drawCharts(options.svg, run)
  return 0
}

async function drawCharts(folder: string, { benchmarks }: BenchRun): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const { name, sections } of benchmarks) {
    for (const section of sections) {
      if (section.kind !== 'comparison') continue
      await writeFile(join(folder, `bench-${name}-${section.name}.svg`), ratioChart(section))
    }
  }
}

function usage(): string {
  const names = BENCHMARKS.map(({ name, what }) => `  ${name.padEnd(11)}  ${what}`)
  return [
    'usage: npm run bench -- [NAME ...] [--quick] [--seed N] [--json FILE] [--svg DIR]',
    names.join('\n'),
    USAGE_OF_OPTIONS,
  ].join('\n\n')
}

process.exitCode = await main(process.argv.slice(2))
