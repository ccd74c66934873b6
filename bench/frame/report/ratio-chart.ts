/** Charts of ratios: for each competitor the median and the quartiles, against the baseline and the spread of the control. */
import {
  CHART_WIDTH,
  LETTER_WIDTH,
  TITLE,
  chartDocument,
  rounded,
  text,
} from '../../common/report/svg.js'
import type { Comparison, ComparisonSection, CompetitorResult } from '../benchmark.js'

export function ratioChart({ title, unit, better, comparisons }: ComparisonSection): string {
  const scale = scaleOf(comparisons)
  const drawn: string[] = []
  let y = TOP
  for (const comparison of comparisons) {
    drawn.push(...drawComparison(comparison, scale, y))
    y += heightOf(comparison)
  }
  return chartDocument(title, y + 34, [
    text(MARGIN, 24, title, TITLE),
    text(MARGIN, 44, `${unit}, as a part of the baseline in the same round; ${better} is better`),
    text(MARGIN, 60, 'Median and quartiles; grey: the baseline against itself'),
    ...axis(scale, TOP - 6, y),
    ...drawn,
  ])
}

const MARGIN = 16
const TOP = 86
const ROW = 18
const GAP = 12
const NAMES_WIDTH = 330
const LEFT = MARGIN + NAMES_WIDTH
const PLOT_WIDTH = CHART_WIDTH - LEFT - 60

interface Scale {
  readonly most: number
  across(ratio: number): number
}

/** From nothing, so that lengths can be compared. */
function scaleOf(comparisons: readonly Comparison[]): Scale {
  const ratios = comparisons.flatMap(({ results }) => results.map(({ ratio }) => ratio))
  const most = Math.max(1.2, ...ratios.map(({ upperQuartile }) => upperQuartile))
  return { most, across: (ratio) => LEFT + (PLOT_WIDTH * ratio) / most }
}

/** A title, and a row for each but the baseline, which is 1 by definition. */
function heightOf({ results }: Comparison): number {
  return results.length * ROW + GAP
}

function axis({ most, across }: Scale, top: number, bottom: number): string[] {
  const step = STEPS.find((one) => most / one <= MOST_TICKS) ?? most
  const ticks: string[] = []
  for (let tick = 0; tick * step <= most; tick++) {
    const x = rounded(across(tick * step))
    const label = (tick * step).toLocaleString('en-GB', { maximumFractionDigits: 2 })
    ticks.push(`<path d="M${x} ${top}V${bottom}" stroke="#e3e3e3"/>`)
    ticks.push(text(x, bottom + 16, label, 'text-anchor="middle"'))
  }
  const one = rounded(across(1))
  return [...ticks, `<path d="M${one} ${top}V${bottom}" stroke="#333" stroke-dasharray="5 4"/>`]
}

const STEPS = [0.2, 0.5, 1, 2, 5, 10, 20, 50]
const MOST_TICKS = 8

function drawComparison(
  { name, baseline, control, results }: Comparison,
  scale: Scale,
  top: number,
): string[] {
  const shown = results.filter((result) => result.name !== baseline)
  const spread = results.find((result) => result.name === control)!.ratio
  const bandLeft = scale.across(spread.lowerQuartile)
  const bandWidth = Math.max(1, scale.across(spread.upperQuartile) - bandLeft)
  return [
    `<rect x="${rounded(bandLeft)}" y="${top + ROW - 8}" width="${rounded(bandWidth)}" height="${shown.length * ROW}" fill="#8c8c8c" fill-opacity="0.25"/>`,
    text(MARGIN, top + 4, `${name}, against ${baseline}`, 'font-weight="600"'),
    ...shown.flatMap((result, index) =>
      drawResult(result, result.name === control, scale, top + (index + 1) * ROW),
    ),
  ]
}

function drawResult(
  { name, ratio }: CompetitorResult,
  isControl: boolean,
  { across }: Scale,
  y: number,
): string[] {
  const colour = isControl ? '#8c8c8c' : name.startsWith('pg-iam') ? '#0969da' : '#cf3b4e'
  const left = rounded(across(ratio.lowerQuartile))
  const right = rounded(across(ratio.upperQuartile))
  return [
    text(LEFT - 10, y + 4, fitted(name), 'text-anchor="end"'),
    `<path d="M${left} ${y}H${right}" stroke="${colour}" stroke-width="3"/>`,
    `<circle cx="${rounded(across(ratio.median))}" cy="${y}" r="4" fill="${colour}"/>`,
    text(CHART_WIDTH - MARGIN, y + 4, ratio.median.toFixed(2), 'text-anchor="end"'),
  ]
}

/** Names stay on their side of the plot. */
function fitted(name: string): string {
  const most = Math.floor(NAMES_WIDTH / LETTER_WIDTH)
  return name.length <= most ? name : `${name.slice(0, most - 1)}…`
}
