/** The table of curves: some of their points, and how they grow. */
import type { FigureTable } from '../../common/report/figure-table.js'
import type { Axis, Curve, CurveSection } from '../benchmark.js'
import type { Fit, FitKind } from '../fit.js'

export function curveTable({ title, x, y, fit, curves }: CurveSection): FigureTable {
  const shown = evenly([...new Set(curves.flatMap(xOf))].toSorted((one, other) => one - other))
  return {
    title: `${title} (${withUnit(y)})`,
    head: [withUnit(x), ...shown.map(grouped), ...FIT_HEADS[fit], 'second half', '±'],
    rows: curves.map(({ name, points, fit: fitted }) => [
      name,
      ...shown.map((at) => figure(points.find((point) => point.x === at)?.y)),
      ...fitCells(fitted, fit),
    ]),
  }
}

/** Of the halves of the points; `±` is the standard error of the second. */
const FIT_HEADS: Readonly<Record<FitKind, readonly string[]>> = {
  slope: ['slope', 'first half'],
  exponent: ['exponent', 'first half'],
}

const MOST_SHOWN = 7

function xOf({ points }: Curve): number[] {
  return points.map(({ x }) => x)
}

/** The first, the last, and some in between. */
function evenly(values: readonly number[]): number[] {
  if (values.length <= MOST_SHOWN) return [...values]
  const step = (values.length - 1) / (MOST_SHOWN - 1)
  return Array.from({ length: MOST_SHOWN }, (_, index) => values[Math.round(index * step)]!)
}

function fitCells({ whole, firstHalf, secondHalf, secondHalfError }: Fit, kind: FitKind): string[] {
  const shown = kind === 'slope' ? figure : exponent
  return [whole, firstHalf, secondHalf, secondHalfError].map((value) =>
    value === undefined ? '' : shown(value),
  )
}

function withUnit({ label, unit }: Axis): string {
  return unit === '' ? label : `${label}, ${unit}`
}

function figure(value: number | undefined): string {
  if (value === undefined) return ''
  const size = Math.abs(value)
  return withDigits(value, size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2)
}

function exponent(value: number): string {
  return withDigits(value, 2)
}

/** Nothing is nothing, from whichever side it was come to. */
function withDigits(value: number, digits: number): string {
  return value.toLocaleString('en-GB', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: 'negative',
  })
}

function grouped(value: number): string {
  return value.toLocaleString('en-GB')
}
