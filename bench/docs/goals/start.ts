/** Cold starts. */
import { allFound, judgeComparisons, met, resultOf, times, type Goal } from './goal.js'

const MOST_MS = 15

export const importOfCore: Goal = {
  section: 'start/imports',
  what: 'The first import of pg-iam alone, in a new process',
  against: '–',
  toReach: `less than ${MOST_MS} ms`,
  judge: judgeComparisons((comparisons, { unit }) => {
    const medians = allFound(
      comparisons.map((comparison) => resultOf(comparison, 'pg-iam')?.figure.median),
    )
    if (medians === undefined) return undefined
    return {
      measured: comparisons.map(({ name, baseline, results }, index) => {
        const beside = results.find((result) => result.name === baseline)!.figure.median
        return `${name}: ${medians[index]!.toFixed(1)} ${unit}, ${baseline} ${beside.toFixed(1)} ${unit}`
      }),
      verdict: met(medians.every((median) => median < MOST_MS)),
    }
  }),
}

export const firstTokenForAuroraDsql: Goal = firstToken({
  provider: 'Aurora DSQL',
  against: 'the AWS connector',
  toReach: 'half of its time or less',
  most: 0.5,
})

/** Both load `@azure/identity`, which takes most of the time. */
export const firstTokenForEntra: Goal = firstToken({
  provider: 'Entra ID',
  against: '@azure/postgresql-auth',
  toReach: 'no slower: 1.00x or less',
  most: 1,
})

interface FirstToken {
  readonly against: string
  readonly toReach: string
  readonly provider: string
  /** The ratio that is still good. */
  readonly most: number
}

function firstToken({ provider, against, toReach, most }: FirstToken): Goal {
  return {
    section: 'start/first-token',
    what: `Import and first token for ${provider}, in a new process, with pg`,
    against,
    toReach,
    judge: judgeComparisons((comparisons, { unit }) => {
      const judged = comparisons
        .filter(({ name }) => name.startsWith(`${provider}, `))
        .map((comparison) => {
          const ours = withPg(provider)
            .map((name) => resultOf(comparison, name))
            .find((result) => result !== undefined)
          if (ours === undefined) return undefined
          const alone = resultOf(comparison, 'pg-iam')
          const beside = resultOf(comparison, comparison.baseline)!
          const format = comparison.name.slice(`${provider}, `.length)
          const withoutPg = alone === undefined ? '' : `; without pg ${times(alone.ratio.median)}`
          return {
            ratio: ours.ratio.median,
            line: `${format}: ${times(ours.ratio.median)}, ${ours.figure.median.toFixed(0)} ${unit} against ${beside.figure.median.toFixed(0)} ${unit}${withoutPg}`,
          }
        })
      const found = allFound(judged)
      if (found === undefined) return undefined
      return {
        measured: found.map(({ line }) => line),
        verdict: met(found.every(({ ratio }) => ratio <= most)),
      }
    }),
  }
}

/** As a package, and as a bundle. */
function withPg(provider: string): string[] {
  return ['pg-iam with pg', `pg-iam, ${provider}, pg`]
}

/** What pg-iam's bundles are compared with. */
const BUNDLES: readonly (readonly [string, string])[] = [
  ['pg-iam, Aurora DSQL, pg', 'AWS connector'],
  ['pg-iam, Entra ID, pg', '@azure/postgresql-auth, pg'],
]

export const sizesOfBundles: Goal = {
  section: 'start/bundles',
  what: 'The size of these bundles',
  against: 'the AWS connector, @azure/postgresql-auth',
  judge(section) {
    if (section.kind !== 'counts') return undefined
    const kilobytes = (bundle: string): string | undefined => {
      const bytes = section.rows.find(({ name }) => name === bundle)?.counts['bytes']
      return bytes === undefined ? undefined : `${Math.round(bytes / 1_000)} kB`
    }
    const sizes = BUNDLES.map(([ours, theirs]) => {
      const [own, other] = [kilobytes(ours), kilobytes(theirs)]
      return own === undefined || other === undefined
        ? undefined
        : `${ours}: ${own}; ${theirs}: ${other}`
    })
    const lines = allFound(sizes)
    return lines && { measured: lines, verdict: 'no goal' }
  },
}
