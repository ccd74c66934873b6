/** Tokens: as few as connections, and each as quick as the signer alone. */
import type { CountRow } from '../../frame/benchmark.js'
import { controlOf, judgeComparisons, met, quartiles, resultOf, times, type Goal } from './goal.js'
import { withinControl } from './within-control.js'

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

export const auroraDsqlToken: Goal = oneToken('Aurora DSQL')
export const rdsToken: Goal = oneToken('RDS')

function oneToken(provider: string): Goal {
  return {
    section: 'tokens/signed',
    what: `One token for ${provider}`,
    against: "the AWS SDK's signer, reused",
    toReach: 'no slower: 1.00x, within the spread of the control',
    judge: judgeComparisons((comparisons, { better, unit }) => {
      const comparison = comparisons.find(({ name }) => name === provider)
      const ours = comparison && resultOf(comparison, 'pg-iam')
      const fresh = comparison && resultOf(comparison, 'signer, new for each')
      if (comparison === undefined || ours === undefined || fresh === undefined) return undefined
      const baseline = resultOf(comparison, comparison.baseline)!.figure.median
      return {
        measured: [
          `${times(ours.ratio.median)}: ${ours.figure.median.toFixed(1)} ${unit} against ${baseline.toFixed(1)} ${unit}`,
          `signer, new for each ${times(fresh.ratio.median)}; control ${quartiles(controlOf(comparison))}`,
        ],
        verdict: withinControl([{ comparison, ratio: ours.ratio }], better),
      }
    }),
  }
}
