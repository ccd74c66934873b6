/** Results as a test gives them. */
import type {
  Comparison,
  ComparisonSection,
  CountSection,
  Curve,
  CurveSection,
  Section,
} from '../../../bench/frame/benchmark.js'
import type { BenchRun } from '../../../bench/frame/run-benchmarks.js'
import { summarize } from '../../../bench/frame/statistics.js'
import type { Measured } from '../../../bench/docs/results.js'

/** The ratios of a competitor, of which the middle one is the median. */
export type Ratios = Readonly<Record<string, readonly number[]>>

/** A control that is 0.98 to 1.02 of its baseline. */
export const CALM: readonly number[] = [0.96, 0.98, 1, 1.02, 1.04]

/** @param figure of the baseline; those of the others follow from their ratios */
export function comparison(
  name: string,
  others: Ratios,
  { figure = 100, control = CALM, baseline = 'static password' } = {},
): Comparison {
  const all: Ratios = { [baseline]: [1], [`${baseline}, again`]: control, ...others }
  return {
    name,
    baseline,
    control: `${baseline}, again`,
    results: Object.entries(all).map(([competitor, ratios]) => {
      const samples = ratios.map((ratio) => ratio * figure)
      return {
        name: competitor,
        samples,
        figure: summarize(samples),
        ratio: summarize(ratios),
      }
    }),
  }
}

export function comparisons(
  name: string,
  ofIt: readonly Comparison[],
  { better = 'more', unit = 'queries/s' }: Partial<ComparisonSection> = {},
): ComparisonSection {
  const notes = ['One sentence', 'of notes.']
  return { kind: 'comparison', name, title: `All ${name}`, notes, unit, better, comparisons: ofIt }
}

export function counts(name: string, rows: CountSection['rows']): CountSection {
  return { kind: 'counts', name, title: `All ${name}`, notes: [], rows }
}

export function curves(name: string, ofIt: readonly Curve[]): CurveSection {
  return {
    kind: 'curves',
    name,
    title: `All ${name}`,
    notes: [],
    x: { label: 'tokens', unit: 'thousands' },
    y: { label: 'growth', unit: 'kB' },
    fit: 'slope',
    curves: ofIt,
  }
}

export function runOf(
  benchmarks: Readonly<Record<string, readonly Section[]>>,
  differences: Partial<BenchRun> = {},
): BenchRun {
  return {
    startedAt: '2026-11-25T20:30:15.000Z',
    tookSecs: 61.7,
    seed: 1,
    isQuick: false,
    machine: {
      pgIam: '0.1.0',
      node: '20.20.2',
      openssl: '3.0.19',
      platform: 'linux x64',
      processors: 2,
      processorModel: 'Some Processor',
    },
    loadBefore: 0.04,
    leftOut: [],
    versions: { pg: '8.23.1', PostgreSQL: '18.4' },
    benchmarks: Object.entries(benchmarks).map(([name, sections]) => ({ name, sections })),
    ...differences,
  }
}

export function measuredOf(
  benchmarks: Readonly<Record<string, readonly Section[]>>,
  differences: Partial<BenchRun> = {},
): Measured[] {
  const run = runOf(benchmarks, differences)
  return run.benchmarks.map(({ name, sections }) => ({ name, sections, run }))
}
