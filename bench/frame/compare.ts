/** Compares competitors with the first of them. */
import type { BenchContext, Comparison } from './benchmark.js'
import { measureInterleaved, type Competitor, type RoundOptions } from './rounds.js'
import { pairedRatios, summarize } from './statistics.js'

/** Competitors of one comparison: the baseline, the baseline once more, and the others. */
export interface Contest {
  readonly name: string
  readonly baseline: Competitor
  readonly control: Competitor
  readonly others: readonly Competitor[]
}

export type Effort = Omit<RoundOptions, 'random'>

export async function compare(
  { name, baseline, control, others }: Contest,
  effort: Effort,
  { random }: BenchContext,
): Promise<Comparison> {
  const measured = await measureInterleaved([baseline, control, ...others], { ...effort, random })
  const ofBaseline = measured.get(baseline.name)!
  return {
    name,
    baseline: baseline.name,
    control: control.name,
    results: [...measured].map(([competitor, samples]) => ({
      name: competitor,
      samples,
      figure: summarize(samples),
      ratio: summarize(pairedRatios(samples, ofBaseline)),
    })),
  }
}

/** The name of the baseline when it runs once more. */
export function controlName(baseline: string): string {
  return `${baseline}, again`
}
