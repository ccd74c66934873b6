/** Charts of curves. */
import { lineChart, type Line, type LineChart } from '../../common/report/line-chart.js'
import type { Axis, Curve, CurveSection } from '../benchmark.js'

export function curveChart({ title, x, y, curves }: CurveSection): string {
  const values = curves.flatMap(({ points }) => points.map((point) => point.y))
  return lineChart({
    title,
    x: { label: described(x), ...horizontal(x, curves) },
    panels: [
      {
        title: described(y),
        scale: 'linear',
        ...niceRange(Math.min(0, ...values), Math.max(...values)),
        lines: linesOf(curves),
      },
    ],
  })
}

function described({ label, unit }: Axis): string {
  const capital = label.charAt(0).toUpperCase() + label.slice(1)
  return unit === '' ? capital : `${capital}, ${unit}`
}

function horizontal({ scale }: Axis, curves: readonly Curve[]): Omit<LineChart['x'], 'label'> {
  const values = curves.flatMap(({ points }) => points.map(({ x }) => x))
  const from = Math.min(...values)
  const to = Math.max(...values)
  if (scale !== 'logarithmic') return { from, to, tickEvery: niceStep((to - from) / MOST_TICKS) }
  return { scale, from, to, tickEvery: to / from >= 100 ? 10 : 2 }
}

const MOST_TICKS = 10

/** The ends of an axis with four steps between them, from the least value or below it to the most or above it. */
export function niceRange(least: number, most: number): { bottom: number; top: number } {
  let step = niceStep(Math.max(most - least, SMALLEST_RANGE) / STEPS)
  for (;;) {
    const bottom = Math.floor(least / step) * step
    const top = bottom + STEPS * step
    if (top >= most) return { bottom, top }
    step = niceStep(step * 1.01)
  }
}

/** As many as the chart has. */
const STEPS = 4
/** For curves that are flat. */
const SMALLEST_RANGE = 0.001

/** The next number from `least` on that people count in. */
function niceStep(least: number): number {
  const decade = 10 ** Math.floor(Math.log10(least))
  const part = [1, 2, 2.5, 5].find((one) => one * decade >= least) ?? 10
  return part * decade
}

/** A curve and what it is compared with have one colour; the latter is dashed. */
function linesOf(curves: readonly Curve[]): Line[] {
  const compared = new Set(curves.map(({ against }) => against))
  const leading = curves.filter(({ name }) => !compared.has(name)).map(({ name }) => name)
  return curves.map(({ name, points }) => {
    const leader = curves.find(({ against }) => against === name)?.name ?? name
    return {
      name,
      colour: COLOURS[leading.indexOf(leader) % COLOURS.length]!,
      points: points.map(({ x, y }) => [x, y] as const),
      ...(compared.has(name) ? { isDashed: true } : {}),
    }
  })
}

const COLOURS = ['#0969da', '#cf3b4e', '#1a9c8a', '#e39b2d', '#8957c9', '#444']
