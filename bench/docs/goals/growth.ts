/** What must not grow with the work: the memory of a process, and the cost of one. */
import type { Curve, CurveSection } from '../../frame/benchmark.js'
import type { Fit } from '../../frame/fit.js'
import type { Goal, Verdict } from './goal.js'

/** How a curve of pg-iam has to be in the second half of its points, where warming up is over. */
interface Limit {
  /** How much more than that of the curve beside it the fit may be, or more than 0 where there is none. */
  readonly below: number
  readonly shown: (fitted: number) => string
  readonly unit: string
}

/** Whatever is kept of each token or connection needs a pointer at least. */
const POINTER: Limit = { below: 8, shown: (bytes) => bytes.toFixed(1), unit: 'bytes' }
const FLAT = `flat: less than ${POINTER.below} bytes for each, which is a pointer`

export const heapOverTokens: Goal = grows(POINTER, {
  section: 'memory/tokens-heap',
  what: 'Growth of the heap over 100,000 tokens, in its second half',
  against: "the AWS SDK's signer, for Aurora DSQL",
  toReach: FLAT,
})
export const externalOverTokens: Goal = grows(POINTER, {
  section: 'memory/tokens-external',
  what: 'The same of what objects hold outside of the heap',
  against: "the AWS SDK's signer, for Aurora DSQL",
  toReach: FLAT,
})
export const heapOverConnections: Goal = grows(POINTER, {
  section: 'memory/connections-heap',
  what: 'Growth of the heap over 10,000 connections, in its second half',
  against: 'the same client with a static password',
  toReach: `${FLAT}, beyond the other`,
})
export const externalOverConnections: Goal = grows(POINTER, {
  section: 'memory/connections-external',
  what: 'The same of what objects hold outside of the heap',
  against: 'the same client with a static password',
  toReach: `${FLAT}, beyond the other`,
})

/** Of the cost of one: 0 is linear altogether, 1 is quadratic; n log n is between, at 0.1 to 0.2 for these numbers. */
const LINEAR: Limit = { below: 0.25, shown: (exponent) => exponent.toFixed(2), unit: '' }
const NOT_WORSE = `linear: an exponent of less than ${LINEAR.below}; 0 is linear, and 1 quadratic`

export const tokensOfManyLogins: Goal = grows(LINEAR, {
  section: 'scale/logins-token',
  what: 'The time of one token with 1 to 64 logins',
  against: '–',
  toReach: NOT_WORSE,
})
export const makingOfManyLogins: Goal = grows(LINEAR, {
  section: 'scale/logins-create',
  what: 'The time to make one login, beside 1 to 64',
  against: '–',
  toReach: NOT_WORSE,
})
export const ownPartOfConnections: Goal = grows(LINEAR, {
  section: 'scale/own-part',
  what: "pg-iam's own part of one connection, of 10 to 100,000 at once, without a network",
  against: '–',
  toReach: NOT_WORSE,
})
export const connectionsByNumber: Goal = grows(LINEAR, {
  section: 'scale/at-once-cpu',
  what: 'The processor time of one connection, of 10 to 10,000 at once',
  against: 'a static password',
  toReach: `${NOT_WORSE}, beyond the other`,
})

function grows(limit: Limit, about: Omit<Goal, 'judge'>): Goal {
  return {
    ...about,
    judge(section) {
      if (section.kind !== 'curves') return undefined
      const judged = oursIn(section).map((curve) => judgeCurve(curve, section, limit))
      if (judged.length === 0) return undefined
      const verdicts = judged.map(({ verdict }) => verdict)
      const worst = (['no', 'too noisy', 'yes'] as const).find((one) => verdicts.includes(one))!
      return { measured: judged.map(({ line }) => line), verdict: worst }
    },
  }
}

/** All that are not there for others to be compared with. */
function oursIn({ curves }: CurveSection): Curve[] {
  const compared = new Set(curves.map(({ against }) => against))
  return curves.filter(({ name }) => !compared.has(name))
}

/** Twice the standard error on both sides: in between nobody can tell. */
function judgeCurve(
  { name, against, fit }: Curve,
  { curves }: CurveSection,
  { below, ...shown }: Limit,
): { line: string; verdict: Verdict } {
  const other = curves.find((curve) => curve.name === against)
  const beyond = fit.secondHalf - Math.max(0, other?.fit.secondHalf ?? 0)
  const uncertainty = 2 * Math.hypot(fit.secondHalfError ?? 0, other?.fit.secondHalfError ?? 0)
  const beside = other === undefined ? '' : `; ${other.name}: ${shownFit(other.fit, shown)}`
  return {
    line: `${name}: ${shownFit(fit, shown)}${beside}`,
    verdict:
      beyond - uncertainty >= below ? 'no' : beyond + uncertainty < below ? 'yes' : 'too noisy',
  }
}

function shownFit(
  { secondHalf, secondHalfError }: Fit,
  { shown, unit }: Pick<Limit, 'shown' | 'unit'>,
): string {
  const error = secondHalfError === undefined ? '' : ` ± ${shown(secondHalfError)}`
  return `${shown(secondHalf)}${error}${unit === '' ? '' : ` ${unit}`}`
}
