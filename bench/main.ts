/**
 * `npm run bench`, and `npm run bench:queries` and the like for one of them.
 *
 * Exit codes: 0 when all was measured, 1 otherwise, 2 for a command line that it does not understand, or earlier results that are none.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connects } from './connects/connects.js'
import { gateway } from './gateway/gateway.js'
import { readRuns, writeDocs } from './docs/write-docs.js'
import { USAGE_OF_OPTIONS, benchOptions, type BenchOptions } from './frame/bench-options.js'
import type { Benchmark } from './frame/benchmark.js'
import { forgetCloud } from './frame/surroundings.js'
import { sectionChart } from './frame/report/section-chart.js'
import { runText } from './frame/report/text.js'
import { runBenchmarks, type BenchRun } from './frame/run-benchmarks.js'
import { leftOutText, runnable, type Runnable } from './frame/runnable.js'
import { memory } from './memory/memory.js'
import { queries } from './queries/queries.js'
import { scale } from './scale/scale.js'
import { start } from './start/start.js'
import { tokens } from './tokens/tokens.js'

const BENCHMARKS: readonly Benchmark[] = [queries, connects, tokens, start, gateway, memory, scale]

async function main(words: readonly string[]): Promise<number> {
  const order = BENCHMARKS.map(({ name }) => name)
  let options: BenchOptions
  let earlier: readonly BenchRun[]
  try {
    options = benchOptions(words, order)
    earlier = await readRuns(options.from)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage()}\n`)
    return 2
  }
  if (earlier.length > 0) {
    await makeDocs(options, earlier, order)
    return 0
  }
  forgetCloud(process.env)
  const say = (line: string): void => void process.stderr.write(`${line}\n`)
  const chosen = BENCHMARKS.filter(({ name }) => options.names.includes(name))
  let possible: Runnable
  try {
    possible = await runnable(chosen, options.areNamed)
  } catch (error) {
    say((error as Error).message)
    return 1
  }
  for (const one of possible.leftOut) say(leftOutText(one))
  const run = await runBenchmarks(possible, options, say)
  process.stdout.write(runText(run))
  if (options.json !== undefined)
    await writeFile(options.json, `${JSON.stringify(run, undefined, 2)}\n`)
  if (options.svg !== undefined) await drawCharts(options.svg, run)
  await makeDocs(options, [run], order)
  return 0
}

async function makeDocs(
  { docs }: BenchOptions,
  runs: readonly BenchRun[],
  order: readonly string[],
): Promise<void> {
  if (docs === undefined) return
  const file = await writeDocs(docs, runs, order)
  process.stdout.write(`Written: ${file} and its charts\n`)
}

async function drawCharts(folder: string, { benchmarks }: BenchRun): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const { name, sections } of benchmarks) {
    for (const section of sections) {
      const chart = sectionChart(section)
      if (chart !== undefined)
        await writeFile(join(folder, `bench-${name}-${section.name}.svg`), chart)
    }
  }
}

function usage(): string {
  const names = BENCHMARKS.map(({ name, what }) => `  ${name.padEnd(11)}  ${what}`)
  return [
    'usage: npm run bench -- [NAME ...] [--quick] [--seed N] [--json FILE] [--svg DIR] [--docs DIR]',
    '       npm run bench -- --docs DIR --from FILE [--from FILE ...]',
    names.join('\n'),
    USAGE_OF_OPTIONS,
  ].join('\n\n')
}

process.exitCode = await main(process.argv.slice(2))
