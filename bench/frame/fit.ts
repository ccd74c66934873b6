/** How a curve grows, by least squares. */
import type { Point } from './benchmark.js'

/**
 * `slope`: y for one more of x. `exponent`: the k of y ~ x^k, which is 0 where y is the cost of one and stays the same, and 1
 * where it grows with x, so that all together cost x².
 */
export type FitKind = 'slope' | 'exponent'

/** What begins high and then stops, or begins low and then grows, shows in the halves. */
export interface Fit {
  readonly whole: number
  /** Of the lower half of the points. The middle one of an odd number belongs to both. */
  readonly firstHalf: number
  readonly secondHalf: number
  /** The standard error of `secondHalf`; missing where it has too few points to tell. */
  readonly secondHalfError?: number
}

/** Throws where a half has less than two points, or, for an exponent, where a value is not above 0. */
export function fitCurve(kind: FitKind, points: readonly Point[]): Fit {
  const fitted = kind === 'slope' ? points : points.map(logarithms)
  const half = Math.ceil(fitted.length / 2)
  const { slope, error } = line(fitted.slice(-half))
  return {
    whole: line(fitted).slope,
    firstHalf: line(fitted.slice(0, half)).slope,
    secondHalf: slope,
    ...(error === undefined ? {} : { secondHalfError: error }),
  }
}

function logarithms({ x, y }: Point): Point {
  if (!(x > 0 && y > 0)) throw new Error(`there is no exponent through (${x}, ${y})`)
  return { x: Math.log(x), y: Math.log(y) }
}

/** The slope of the line through the points, and how uncertain it is. */
function line(points: readonly Point[]): { slope: number; error: number | undefined } {
  const count = points.length
  const meanX = mean(points.map(({ x }) => x))
  const meanY = mean(points.map(({ y }) => y))
  const spread = sum(points.map(({ x }) => (x - meanX) ** 2))
  if (!(spread > 0)) throw new Error('there is no line through less than two points')
  const slope = sum(points.map(({ x, y }) => (x - meanX) * (y - meanY))) / spread
  const left = sum(points.map(({ x, y }) => (y - meanY - slope * (x - meanX)) ** 2))
  return { slope, error: count > 2 ? Math.sqrt(left / (count - 2) / spread) : undefined }
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
