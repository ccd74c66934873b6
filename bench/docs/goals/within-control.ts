/** Whether a competitor is as good as the baseline, but for chance. */
import type { Comparison, ComparisonSection } from '../../frame/benchmark.js'
import type { Summary } from '../../frame/statistics.js'
import { controlOf, type Verdict } from './goal.js'

/** One competitor in one comparison. */
export interface Placed {
  readonly comparison: Comparison
  readonly ratio: Summary
}

export type Place = 'worse' | 'within' | 'better'

/**
 * The control shows what chance and the machine make of no difference at all. So a median is within its spread between its
 * quartiles, and between it and 1, which is no difference either.
 */
export function placeOf(
  { comparison, ratio: { median } }: Placed,
  better: ComparisonSection['better'],
): Place {
  const { lowerQuartile, upperQuartile } = controlOf(comparison)
  const isBelow = median < Math.min(1, lowerQuartile)
  const isAbove = median > Math.max(1, upperQuartile)
  if (!isBelow && !isAbove) return 'within'
  return isAbove === (better === 'more') ? 'better' : 'worse'
}

/**
 * What is better than the control has met the goal, too. A control that is far from itself would let anything pass as within it: then
 * nobody can tell.
 */
export function withinControl(
  placed: readonly Placed[],
  better: ComparisonSection['better'],
): Verdict {
  if (placed.some((one) => placeOf(one, better) === 'worse')) return 'no'
  const isUntold = (one: Placed): boolean =>
    isNoisy(one.comparison) && placeOf(one, better) === 'within'
  return placed.some(isUntold) ? 'too noisy' : 'yes'
}

/** How far from 1 the quartiles of a control may be. */
export const MOST_NOISE = 0.1

export function isNoisy(comparison: Comparison): boolean {
  const { lowerQuartile, upperQuartile } = controlOf(comparison)
  return lowerQuartile < 1 - MOST_NOISE || upperQuartile > 1 + MOST_NOISE
}
