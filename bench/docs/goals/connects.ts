/** Connections take as long as with a static password. */
import {
  allFound,
  controlOf,
  judgeComparisons,
  met,
  quartiles,
  resultOf,
  times,
  type Goal,
} from './goal.js'

/** Two in a hundred, for the token and the stream. */
const MOST = 1.02

export const connectionsAtOnce: Goal = goalOf('at-once', '200 connections opened at once')
export const connectionsOneByOne: Goal = goalOf('one-by-one', '200 connections opened one by one')

function goalOf(section: string, what: string): Goal {
  return {
    section: `connects/${section}`,
    what,
    against: 'a static password',
    toReach: `${times(MOST)} of the time or less`,
    judge: judgeComparisons((comparisons) => {
      const judged = comparisons.map((comparison) => {
        const ours = resultOf(comparison, 'pg-iam')?.ratio.median
        if (ours === undefined) return undefined
        const others = comparison.results.filter(
          ({ name }) => ![comparison.baseline, comparison.control, 'pg-iam'].includes(name),
        )
        const beside = others.map(({ name, ratio }) => `, ${name} ${times(ratio.median)}`).join('')
        const control = quartiles(controlOf(comparison))
        return { ours, line: `${comparison.name}: ${times(ours)}${beside}, control ${control}` }
      })
      const lines = allFound(judged)
      if (lines === undefined) return undefined
      return {
        measured: lines.map(({ line }) => line),
        verdict: met(lines.every(({ ours }) => ours <= MOST)),
      }
    }),
  }
}
