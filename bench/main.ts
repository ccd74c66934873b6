/**
 * `npm run bench` runs all benchmarks, `npm run bench:queries` and similar commands run one of them.
 *
 * Exit codes: 0 if all measurements succeeded, 1 otherwise, 2 for an invalid command line.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { inspect, parseArgs } from 'node:util'
import {
  buildIn,
  copyBuild,
  forgetCloud,
  type Benchmark,
  type BenchContext,
  type OtherBuild,
} from './benchmark.js'
import { createSeededRandom, seedOf, wrongOption } from '../test/support/seeded-random.js'
import type { TlsPostgres } from './postgres.js'
import {
  describeMachine,
  markdownTable,
  replaceWritten,
  rowTable,
  terminalTable,
  writePage,
} from './report.js'
import { compare, type Row } from './rounds.js'

/** The modules are loaded on demand, so that an invalid command line is reported immediately. */
const BENCHMARKS: Readonly<Record<string, () => Promise<Benchmark>>> = {
  queries: async () => (await import('./queries.js')).queries,
  connects: async () => (await import('./connects.js')).connects,
  tokens: async () => (await import('./tokens.js')).tokens,
  start: async () => (await import('./start.js')).start,
  gateway: async () => (await import('./gateway.js')).gateway,
  dsql: async () => (await import('./dsql.js')).dsql,
}
const NAMES = Object.keys(BENCHMARKS)

const USAGE = `usage: npm run bench -- [NAME ...] [--quick] [--seed N] [--json FILE]
       npm run bench -- [--quick] [--seed N] [--json FILE] --docs FILE
       npm run bench -- queries --against DIST [--quick] [--seed N] [--json FILE]

NAME is one of ${NAMES.join(', ')}; all by default

  --quick         seconds instead of minutes: shows that it works; the figures mean little
  --seed N        what the order of the competitors follows from, a whole number from 0; 1 by default
  --against DIST  compares with another build of pg-iam instead, such as ../release/dist
  --json FILE     writes all samples to a file
  --docs FILE     writes the table into a page, such as docs/performance.md`

type BenchOptions = ReturnType<typeof benchOptions>

/** Throws an error with an explanation for an invalid command line. */
function benchOptions(words: string[]) {
  const { values, positionals: names } = parseArgs({
    args: words,
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
      against: { type: 'string' },
      json: { type: 'string' },
      docs: { type: 'string' },
    },
  })
  const unknown = names.find((name) => !NAMES.includes(name))
  if (unknown !== undefined)
    throw new Error(`there is no benchmark "${unknown}", only ${NAMES.join(', ')}`)
  if (values.against !== undefined && names.join() !== 'queries')
    throw new Error('"--against" is for "queries" only')
  if (values.json === '') throw wrongOption('json', 'the name of a file', values.json)
  if (values.docs !== undefined && names.length > 0)
    throw new Error('"--docs" writes the figures of all benchmarks: it takes no names')
  const chosen = NAMES.filter((name) => names.length === 0 || names.includes(name))
  return { ...values, names: chosen, seed: seedOf(values.seed) }
}

async function main(words: string[]): Promise<number> {
  let options: BenchOptions
  let other: OtherBuild | undefined
  try {
    options = benchOptions(words)
    // Checked before the measurement: a page without the comments is rejected.
    if (options.docs !== undefined) replaceWritten(await readFile(options.docs, 'utf8'), '')
    await mkdir('build', { recursive: true })
    if (options.against !== undefined) other = await copyBuild(options.against)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}\n`)
    return 2
  }
  forgetCloud(process.env)
  try {
    return await run(options, other)
  } finally {
    await other?.close()
  }
}

async function run(options: BenchOptions, other: OtherBuild | undefined): Promise<number> {
  const { names, quick: isQuick, seed, json, docs } = options
  const say = (line: string): void => void process.stderr.write(`${line}\n`)
  const [load = 0] = loadavg()
  const startedAt = new Date()
  const rows: Row[] = []
  let postgres: Promise<TlsPostgres> | undefined
  const failed: string[] = []
  for (const name of names) {
    // The same as if the benchmark ran alone: the same seed gives the same order.
    const random = createSeededRandom(seed)
    const context: BenchContext = {
      isQuick,
      build: buildIn('dist'),
      other,
      postgres: () => (postgres ??= import('./postgres.js').then((all) => all.startTlsPostgres())),
      async measure(contest, effort) {
        const what = `${name}: ${contest.what}`
        say(what)
        rows.push(...(await compare({ ...contest, what }, effort, random)))
      },
      leaveOut: (why) => say(`${name}: left out: ${why}`),
    }
    try {
      const benchmark = await BENCHMARKS[name]!()
      await benchmark(context)
    } catch (error) {
      failed.push(name)
      say(`${name}: failed: ${inspect(error)}`)
    }
  }
  await postgres?.then(({ close }) => close()).catch(() => {})
  const tookSecs = Math.round((Date.now() - startedAt.getTime()) / 1_000)
  const machine = await describeMachine('.')
  const note = `${isQuick ? 'A quick run, whose figures mean little. ' : ''}${startedAt.toISOString().slice(0, 10)}, ${machine}; seed ${seed}, ${tookSecs} s, load before it ${load.toFixed(2)}.`
  const table = rowTable(rows)
  process.stdout.write(`${terminalTable(table)}${note}\n`)
  if (json !== undefined) {
    const content = { startedAt, tookSecs, seed, isQuick, machine, load, rows, failed }
    await writeFile(json, `${JSON.stringify(content, undefined, 2)}\n`)
  }
  if (failed.length > 0) {
    say(`failed: ${failed.join(', ')}`)
    return 1
  }
  if (docs !== undefined) {
    const page = await readFile(docs, 'utf8')
    await writePage(docs, replaceWritten(page, `${note}\n\n${markdownTable(table)}`))
    process.stdout.write(`Written: ${docs}\n`)
  }
  return 0
}

process.exitCode = await main(process.argv.slice(2))
