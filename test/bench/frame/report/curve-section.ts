/** A section with two curves, for the reports. */
import type { CurveSection } from '../../../../bench/frame/benchmark.js'

export const curveSection: CurveSection = {
  kind: 'curves',
  name: 'connections',
  title: 'Connections <at once>',
  notes: [],
  x: { label: 'connections', unit: '', scale: 'logarithmic' },
  y: { label: 'time for one', unit: 'ms' },
  fit: 'exponent',
  curves: [
    {
      name: 'static',
      points: [
        { x: 10, y: 1.5 },
        { x: 100, y: 1 },
        { x: 1_000, y: 2 },
      ],
      fit: { whole: 0.0625, firstHalf: -0.176, secondHalf: 0.301, secondHalfError: 0.01 },
    },
    {
      name: 'pg-iam',
      against: 'static',
      points: [
        { x: 10, y: 3 },
        { x: 100, y: 123.4 },
      ],
      fit: { whole: 1.614, firstHalf: 1.614, secondHalf: 1.614 },
    },
  ],
}
