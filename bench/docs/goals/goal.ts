/** What a goal is, and how the results are asked for it. */
import type {
  Comparison,
  CompetitorResult,
  ComparisonSection,
  Section,
} from '../../frame/benchmark.js'
import type { Summary } from '../../frame/statistics.js'
import type { Measured } from '../results.js'

export interface Goal {
  /** The section that has its figures, as `BENCHMARK/SECTION`. */
  readonly section: string
  readonly what: string
  readonly against: string
  /** Missing where the figures belong to others, and nothing is to be reached. */
  readonly toReach?: string
  /** Returns nothing where the section does not have what it takes. */
  readonly judge: (section: Section) => Judgement | undefined
}

export interface Judgement {
  /** What came out, in one or more lines. */
  readonly measured: readonly string[]
  readonly verdict: Verdict
}

/** `no goal` where there is nothing to reach. */
export type Verdict = 'yes' | 'no' | 'too noisy' | 'no goal'

export function sectionOf(measured: readonly Measured[], path: string): Section | undefined {
  return measured
    .flatMap(({ name, sections }) =>
      sections.map((section) => [`${name}/${section.name}`, section]),
    )
    .find((entry): entry is [string, Section] => entry[0] === path)?.[1]
}

/** Judges a section of comparisons, where it is one. */
export function judgeComparisons(
  judge: (comparisons: readonly Comparison[], section: ComparisonSection) => Judgement | undefined,
): Goal['judge'] {
  return (section) =>
    section.kind === 'comparison' ? judge(section.comparisons, section) : undefined
}

export function resultOf({ results }: Comparison, name: string): CompetitorResult | undefined {
  return results.find((result) => result.name === name)
}

export function controlOf(comparison: Comparison): Summary {
  return resultOf(comparison, comparison.control)!.ratio
}

/** The items where all were found, and at least one. */
export function allFound<T>(items: readonly (T | undefined)[]): readonly T[] | undefined {
  const found = items.filter((item) => item !== undefined)
  return found.length > 0 && found.length === items.length ? found : undefined
}

/** "1.00x" */
export function times(ratio: number): string {
  return `${ratio.toFixed(2)}x`
}

/** "0.98x to 1.02x" */
export function span(values: readonly number[], shown: (value: number) => string = times): string {
  const [least, most] = [shown(Math.min(...values)), shown(Math.max(...values))]
  return least === most ? least : `${least} to ${most}`
}

export function quartiles({ lowerQuartile, upperQuartile }: Summary): string {
  return span([lowerQuartile, upperQuartile])
}

export function met(isMet: boolean): Verdict {
  return isMet ? 'yes' : 'no'
}
