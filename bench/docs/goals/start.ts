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

const AGAINST_AWS = { provider: 'Aurora DSQL', against: 'the AWS connector' } as const

/** The connector always loads pg, so this is what an application on pg has of it. */
export const firstTokenForAuroraDsql: Goal = firstToken({
  ...AGAINST_AWS,
  what: 'Import and first token for Aurora DSQL, in a new process, with pg',
  toReach: '1.05x or less: the same signer, loaded with the first token',
  ours: ['pg-iam with pg', 'pg-iam, Aurora DSQL, pg', 'pg-iam, Aurora DSQL, pg, AWS SDK of Lambda'],
  beside: 'pg alone, no token',
  most: 1.05,
})

export const firstTokenBuiltIn: Goal = firstToken({
  ...AGAINST_AWS,
  what: 'The same by the built-in signer, without pg',
  toReach: 'half of its time or less',
  ours: ['pg-iam, built-in signer'],
  formats: ['ESM', 'CommonJS'],
  beside: 'pg-iam with pg, built-in signer',
  most: 0.5,
})

/** Both load `@azure/identity`, which takes most of the time. */
export const firstTokenForEntra: Goal = firstToken({
  what: 'Import and first token for Entra ID, in a new process, with pg',
  provider: 'Entra ID',
  against: '@azure/postgresql-auth',
  toReach: 'no slower: 1.00x or less',
  ours: ['pg-iam with pg', 'pg-iam, Entra ID, pg'],
  most: 1,
})

interface FirstToken {
  readonly what: string
  readonly against: string
  readonly toReach: string
  readonly provider: string
  /** Names of competitors, of which a contest has one at the most. */
  readonly ours: readonly string[]
  /** Default: all. */
  readonly formats?: readonly string[]
  /** A competitor to show beside ours where there is one. */
  readonly beside?: string
  /** The ratio that is still good. */
  readonly most: number
}

function firstToken({ provider, ours, formats, beside, most, ...goal }: FirstToken): Goal {
  return {
    section: 'start/first-token',
    ...goal,
    judge: judgeComparisons((comparisons, { unit }) => {
      const judged = comparisons
        .map((comparison) => ({ comparison, format: formatOf(comparison.name, provider) }))
        .filter(({ format }) => format !== undefined && (formats?.includes(format) ?? true))
        .map(({ comparison, format }) => {
          const own = comparison.results.find(({ name }) => ours.includes(name))
          if (own === undefined) return undefined
          const other = beside === undefined ? undefined : resultOf(comparison, beside)
          const theirs = resultOf(comparison, comparison.baseline)!
          const shown = other === undefined ? '' : `; ${beside}: ${times(other.ratio.median)}`
          return {
            ratio: own.ratio.median,
            line: `${format}: ${times(own.ratio.median)}, ${own.figure.median.toFixed(0)} ${unit} against ${theirs.figure.median.toFixed(0)} ${unit}${shown}`,
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

/** "ESM" of "Aurora DSQL, ESM", where it is a contest of this provider. */
function formatOf(name: string, provider: string): string | undefined {
  return name.startsWith(`${provider}, `) ? name.slice(`${provider}, `.length) : undefined
}

/** What pg-iam's bundles are compared with. */
const BUNDLES: readonly (readonly [string, string])[] = [
  ['pg-iam, Aurora DSQL, pg', 'AWS connector'],
  ['pg-iam, Aurora DSQL, pg, built-in signer', 'AWS connector'],
  ['pg-iam, Aurora DSQL, pg, AWS SDK of Lambda', 'AWS connector, AWS SDK of Lambda'],
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
