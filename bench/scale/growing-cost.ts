/** A section of what one costs, by how many there are. */
import type { Axis, CurveSection, Point, SectionText } from '../frame/benchmark.js'
import { fitCurve } from '../frame/fit.js'

export interface CostCurve {
  readonly name: string
  /** The name of the curve that it is compared with. */
  readonly against?: string
  /** `y` is the cost of one where there are `x`. */
  readonly points: readonly Point[]
}

export function growingCost(
  text: SectionText,
  x: string,
  y: Axis,
  curves: readonly CostCurve[],
): CurveSection {
  return {
    kind: 'curves',
    ...text,
    notes: [...text.notes, EXPONENT],
    x: { label: x, unit: '', scale: 'logarithmic' },
    y,
    fit: 'exponent',
    curves: curves.map((curve) => ({ ...curve, fit: fitCurve('exponent', curve.points) })),
  }
}

const EXPONENT =
  'The exponent is that of the cost of one: 0 where all together cost in proportion to their number, 1 where they cost its square.'
