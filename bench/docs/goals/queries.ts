/** Queries through pools: a login by token costs them nothing. */
import type { Comparison } from '../../frame/benchmark.js'
import { summarize, type Summary } from '../../frame/statistics.js'
import {
  allFound,
  controlOf,
  judgeComparisons,
  quartiles,
  resultOf,
  span,
  times,
  type Goal,
} from './goal.js'
import { isNoisy, placeOf, withinControl, type Placed } from './within-control.js'

const WITHIN = '1.00x, within the spread of the control'

export const queriesThroughAdapters: Goal = {
  section: 'queries/adapters',
  what: 'Queries a second through the pool of each client, by 1, 5 and 20 tasks',
  against: 'the same client with a static password',
  toReach: WITHIN,
  judge: judgeComparisons((comparisons, { better }) => {
    const placed = allFound(comparisons.map(oursIn('pg-iam')))
    if (placed === undefined) return undefined
    const controls = comparisons.map(controlOf)
    const named = (found: readonly Placed[]): string =>
      found
        .map(({ comparison, ratio }) => {
          const control = quartiles(controlOf(comparison))
          return `${comparison.name} ${times(ratio.median)} (control ${control})`
        })
        .join('; ')
    const worse = placed.filter((one) => placeOf(one, better) === 'worse')
    const beyond = placed.filter((one) => placeOf(one, better) === 'better')
    const noisy = comparisons.filter(isNoisy).length
    return {
      measured: [
        `${span(placed.map(({ ratio }) => ratio.median))} in ${placed.length} comparisons, the median of them ${medianOf(placed.map(({ ratio }) => ratio))}`,
        `control ${span(controls.flatMap((one) => [one.lowerQuartile, one.upperQuartile]))}, the median of them ${medianOf(controls)}`,
        ...(worse.length === 0 ? [] : [`slower: ${named(worse)}`]),
        ...(beyond.length === 0 ? [] : [`faster: ${named(beyond)}`]),
        ...(noisy === 0 ? [] : [`the control is too noisy in ${noisy} of ${placed.length}`]),
      ],
      verdict: withinControl(placed, better),
    }
  }),
}

const CREDENTIALS = ['instant', 'environment', '2 ms'].map((from) => `${from} credentials`)

export const queriesWithSignedTokens: Goal = {
  section: 'queries/connector',
  what: 'The same on pg with signed tokens: instant / environment / 2 ms credentials',
  against: 'a static password, and beside the AWS connector',
  toReach: WITHIN,
  judge: judgeComparisons((comparisons, { better }) => {
    const judged = comparisons.map((comparison) => {
      const ratiosOf = (competitor: string): readonly Summary[] | undefined =>
        allFound(CREDENTIALS.map((name) => resultOf(comparison, `${competitor}, ${name}`)?.ratio))
      const [ours, theirs] = [ratiosOf('pg-iam'), ratiosOf('AWS connector')]
      if (ours === undefined || theirs === undefined) return undefined
      const shown = (ratios: readonly Summary[]): string =>
        ratios.map(({ median }) => times(median)).join(' / ')
      return {
        placed: ours.map((ratio): Placed => ({ comparison, ratio })),
        line: `${comparison.name}: ${shown(ours)}, AWS connector ${shown(theirs)}, control ${quartiles(controlOf(comparison))}`,
      }
    })
    const lines = allFound(judged)
    if (lines === undefined) return undefined
    return {
      measured: lines.map(({ line }) => line),
      verdict: withinControl(
        lines.flatMap(({ placed }) => placed),
        better,
      ),
    }
  }),
}

function medianOf(ratios: readonly Summary[]): string {
  return times(summarize(ratios.map(({ median }) => median)).median)
}

function oursIn(name: string): (comparison: Comparison) => Placed | undefined {
  return (comparison) => {
    const ratio = resultOf(comparison, name)?.ratio
    return ratio === undefined ? undefined : { comparison, ratio }
  }
}
