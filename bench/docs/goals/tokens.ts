/** Tokens: as few as connections, and each nearly as quick as the signer alone. */
import type { CountRow } from '../../frame/benchmark.js'
import { controlOf, judgeComparisons, met, quartiles, resultOf, times, type Goal } from './goal.js'

export const tokensForQueries: Goal = {
  section: 'tokens/counts',
  what: 'Credentials calls and tokens for 1,000 queries on 5 connections',
  against: 'the AWS connector',
  toReach: '1 and 5',
  judge(section) {
    if (section.kind !== 'counts') return undefined
    const [ours, theirs] = ['pg-iam', 'AWS connector'].map((name) =>
      section.rows.find((row) => row.name === name),
    )
    if (ours === undefined || theirs === undefined) return undefined
    return {
      measured: [shown(ours), `AWS connector ${shown(theirs)}`],
      verdict: met(ours.counts['credentials calls'] === 1 && ours.counts['tokens'] === 5),
    }
  },
}

function shown({ counts }: CountRow): string {
  const count = (name: string): string => counts[name]?.toLocaleString('en-GB') ?? 'none'
  return `${count('credentials calls')} and ${count('tokens')}`
}

/** Of the time of the signer alone, for all that the login does around it. */
const MOST = 1.2

export const auroraDsqlToken: Goal = oneToken('Aurora DSQL')
export const rdsToken: Goal = oneToken('RDS')

function oneToken(provider: string): Goal {
  return {
    section: 'tokens/signed',
    what: `One token for ${provider}`,
    against: "the AWS SDK's signer, reused",
    toReach: `${times(MOST)} or less, with that signer`,
    judge: judgeComparisons((comparisons, { unit }) => {
      const comparison = comparisons.find(({ name }) => name === provider)
      const ours = comparison && resultOf(comparison, 'pg-iam')
      const builtIn = comparison && resultOf(comparison, 'pg-iam, built-in signer')
      if (comparison === undefined || ours === undefined || builtIn === undefined) return undefined
      const baseline = resultOf(comparison, comparison.baseline)!.figure.median
      return {
        measured: [
          `${times(ours.ratio.median)}: ${ours.figure.median.toFixed(1)} ${unit} against ${baseline.toFixed(1)} ${unit}; control ${quartiles(controlOf(comparison))}`,
          `built-in signer ${times(builtIn.ratio.median)}: ${builtIn.figure.median.toFixed(1)} ${unit}`,
        ],
        verdict: met(ours.ratio.median <= MOST),
      }
    }),
  }
}
