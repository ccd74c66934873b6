/** What a benchmark is, and what it results in. */
import type { Fit, FitKind } from './fit.js'
import type { Summary } from './statistics.js'

export interface Benchmark {
  readonly name: string
  /** What it measures, for the usage. */
  readonly what: string
  /** What it needs that this machine does not have, and how to get it; `undefined` where nothing is missing. */
  missing?(): Promise<string | undefined>
  run(context: BenchContext): Promise<readonly Section[]>
}

export interface BenchContext {
  /** Whether it is to show in seconds that it works, with figures that are worth nothing. */
  readonly isQuick: boolean
  /** As `Math.random`; the same seed gives the same numbers. */
  readonly random: () => number
  /** Gets a line for each step. */
  readonly progress: (line: string) => void
  /** Notes the version of what takes part and is no package of npm. */
  readonly uses: (name: string, version: string) => void
}

/** Figures that belong together, with a table of their own. */
export type Section = ComparisonSection | CountSection | CurveSection

export interface SectionText {
  /** Unique in its benchmark, and fit for the name of a file. */
  readonly name: string
  readonly title: string
  /** What must be known to read it, in whole sentences. */
  readonly notes: readonly string[]
}

/** Competitors against each other, in one or more comparisons. */
export interface ComparisonSection extends SectionText {
  readonly kind: 'comparison'
  readonly unit: string
  readonly better: 'more' | 'less'
  readonly comparisons: readonly Comparison[]
}

export interface Comparison {
  readonly name: string
  /** The competitor that the others are compared with. */
  readonly baseline: string
  /** The same once more, under another name: how far it is from itself is what chance and the machine add. */
  readonly control: string
  readonly results: readonly CompetitorResult[]
}

export interface CompetitorResult {
  readonly name: string
  /** One figure for each round. */
  readonly samples: readonly number[]
  readonly figure: Summary
  /** Against the baseline, round by round. */
  readonly ratio: Summary
}

/** Figures that nothing is compared with: what is counted, or the median of what was measured. */
export interface CountSection extends SectionText {
  readonly kind: 'counts'
  readonly rows: readonly CountRow[]
}

export interface CountRow {
  readonly name: string
  readonly counts: Readonly<Record<string, number>>
}

/** How a figure goes as the work grows. */
export interface CurveSection extends SectionText {
  readonly kind: 'curves'
  readonly x: Axis
  readonly y: Axis
  /** What is fitted to all curves. */
  readonly fit: FitKind
  readonly curves: readonly Curve[]
}

export interface Axis {
  /** Such as `logins`, or `time of one token`. */
  readonly label: string
  /** Of the value, such as `µs`; empty for what is only counted. */
  readonly unit: string
  /** `logarithmic` where the values span decades; y is always linear. Default `linear`. */
  readonly scale?: 'linear' | 'logarithmic'
}

export interface Curve {
  readonly name: string
  /** The curve that shows what the same costs without pg-iam. */
  readonly against?: string
  /** In the order of x. */
  readonly points: readonly Point[]
  readonly fit: Fit
}

export interface Point {
  readonly x: number
  readonly y: number
}
