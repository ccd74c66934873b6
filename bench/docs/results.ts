/** The latest result of each benchmark, from one run or from several. */
import type { Section } from '../frame/benchmark.js'
import type { BenchRun } from '../frame/run-benchmarks.js'

export interface Measured {
  /** The name of the benchmark. */
  readonly name: string
  readonly sections: readonly Section[]
  /** The run that it is from, which may have had others. */
  readonly run: BenchRun
}

/** @param order the names of all benchmarks, in the order of the page; others come last */
export function latestOf(runs: readonly BenchRun[], order: readonly string[]): Measured[] {
  const latest = new Map<string, Measured>()
  const inTime = runs.toSorted(
    (one, other) => Date.parse(one.startedAt) - Date.parse(other.startedAt),
  )
  for (const run of inTime)
    for (const { name, sections } of run.benchmarks) latest.set(name, { name, sections, run })
  const place = ({ name }: Measured): number =>
    order.includes(name) ? order.indexOf(name) : order.length
  return [...latest.values()].toSorted((one, other) => place(one) - place(other))
}

/**
 * @param file the name of the file that `text` is from, for the errors
 * @throws Error for what `--json` did not write, and for a run with `--quick`
 */
export function parseRun(text: string, file: string): BenchRun {
  const run = parsed(text)
  if (!isRun(run)) throw new Error(`${file} is no result of "npm run bench -- --json FILE"`)
  if (run.isQuick)
    throw new Error(`${file} was measured with "--quick": its figures are worth nothing`)
  return { ...run, leftOut: run.leftOut ?? [] }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Other files of JSON, and results of an earlier version, which lack some of it. */
function isRun(value: unknown): value is BenchRun {
  const run = value as Partial<BenchRun> | null | undefined
  return (
    typeof run?.startedAt === 'string' &&
    typeof run.isQuick === 'boolean' &&
    typeof run.seed === 'number' &&
    typeof run.loadBefore === 'number' &&
    typeof run.machine === 'object' &&
    typeof run.versions === 'object' &&
    Array.isArray(run.benchmarks)
  )
}
