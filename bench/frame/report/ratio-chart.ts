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
  const rival = onlyRival(comparisons)
  const scale = scaleOf(
    comparisons,
    rival === undefined ? competitorsOf(comparisons) : namesOf(comparisons),
  )
  const drawn: string[] = []
  let y = TOP
  for (const comparison of comparisons) {
    const draw = rival === undefined ? drawComparison : drawInOneRow
    drawn.push(...draw(comparison, scale, y))
    y += rival === undefined ? othersIn(comparison).length * ROW + ROW + GAP : ROW + ROW_GAP
  }
  const grey = `grey: ${rival?.baseline ?? 'the baseline'} against itself`
  return chartDocument(title, y + 34, [
    text(MARGIN, 24, title, TITLE),
    text(MARGIN, 44, `${unit}, as a part of the baseline in the same round; ${better} is better`),
    text(
      MARGIN,
      60,
      rival === undefined
        ? `Median and quartiles; ${grey}`
        : `Median and quartiles of ${rival.name} against ${rival.baseline}; ${grey}`,
    ),
    ...axis(scale, TOP - 6, y),
    ...drawn,
  ])
}

const MARGIN = 16
const TOP = 86
const ROW = 18
const GAP = 12
const ROW_GAP = 4
const MOST_NAME_LETTERS = 50
/** Of the figures behind the plot. */
const FIGURES_WIDTH = 120

interface Scale {
  /** Where the plot begins, and the names before it end. */
  readonly left: number
  readonly most: number
  across(ratio: number): number
}

/** From nothing, so that lengths can be compared. */
function scaleOf(comparisons: readonly Comparison[], names: readonly string[]): Scale {
  const letters = Math.min(MOST_NAME_LETTERS, Math.max(...names.map(({ length }) => length)))
  const left = MARGIN + letters * LETTER_WIDTH + 10
  const width = CHART_WIDTH - left - FIGURES_WIDTH - MARGIN
  const ratios = comparisons.flatMap(({ results }) => results.map(({ ratio }) => ratio))
  const most = Math.max(1.2, ...ratios.map(({ upperQuartile }) => upperQuartile))
  return { left, most, across: (ratio) => left + (width * ratio) / most }
}

function namesOf(comparisons: readonly Comparison[]): string[] {
  return comparisons.map(({ name }) => name)
}

function competitorsOf(comparisons: readonly Comparison[]): string[] {
  return comparisons.flatMap(othersIn).map(({ name }) => name)
}

interface Rival {
  readonly name: string
  readonly baseline: string
}

/** The one that all comparisons are about, where there is one: then each has a row alone, and many stay readable. */
function onlyRival(comparisons: readonly Comparison[]): Rival | undefined {
  const [first, ...more] = comparisons.map((comparison) => ({
    baseline: comparison.baseline,
    rivals: othersIn(comparison).filter(({ name }) => name !== comparison.control),
  }))
  const name = first?.rivals[0]?.name
  if (first === undefined || name === undefined) return undefined
  const { baseline } = first
  const isSame = [first, ...more].every(
    (one) => one.baseline === baseline && one.rivals.length === 1 && one.rivals[0]!.name === name,
  )
  return isSame ? { name, baseline } : undefined
}

/** All but the baseline, which is 1 by definition. */
function othersIn({ baseline, results }: Comparison): CompetitorResult[] {
  return results.filter(({ name }) => name !== baseline)
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

const STEPS = [0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000]
const MOST_TICKS = 8

/** A title, and a row for each. */
function drawComparison(comparison: Comparison, scale: Scale, top: number): string[] {
  const { name, baseline, control } = comparison
  const others = othersIn(comparison)
  return [
    band(comparison, scale, top + ROW - 8, others.length * ROW),
    text(MARGIN, top + 4, `${name}, against ${baseline}`, `font-weight="600" ${ON_WHITE}`),
    ...others.flatMap((result, index) =>
      drawResult(result, result.name, result.name === control, scale, top + (index + 1) * ROW),
    ),
  ]
}

/** The lines of the plot end at the letters. */
const ON_WHITE = 'paint-order="stroke" stroke="#fff" stroke-width="5"'

function drawInOneRow(comparison: Comparison, scale: Scale, top: number): string[] {
  const rival = othersIn(comparison).find(({ name }) => name !== comparison.control)!
  return [
    band(comparison, scale, top - 8, ROW),
    ...drawResult(rival, comparison.name, false, scale, top + 1),
  ]
}

/** The quartiles of the control, behind what they are the measure of. */
function band(
  { control, results }: Comparison,
  { across }: Scale,
  top: number,
  height: number,
): string {
  const { ratio } = results.find(({ name }) => name === control)!
  const left = across(ratio.lowerQuartile)
  const width = Math.max(2, across(ratio.upperQuartile) - left)
  return `<rect x="${rounded(left)}" y="${top}" width="${rounded(width)}" height="${height}" fill="#8c8c8c" fill-opacity="0.25"/>`
}

function drawResult(
  { name, ratio }: CompetitorResult,
  label: string,
  isControl: boolean,
  { left: start, across }: Scale,
  y: number,
): string[] {
  const colour = isControl ? '#8c8c8c' : name.startsWith('pg-iam') ? '#0969da' : '#cf3b4e'
  const left = rounded(across(ratio.lowerQuartile))
  const right = rounded(across(ratio.upperQuartile))
  return [
    text(start - 10, y + 4, fitted(label), 'text-anchor="end"'),
    `<path d="M${left} ${y}H${right}" stroke="${colour}" stroke-width="3"/>`,
    `<circle cx="${rounded(across(ratio.median))}" cy="${y}" r="4" fill="${colour}"/>`,
    text(CHART_WIDTH - MARGIN - 78, y + 4, shown(ratio.median), 'text-anchor="end"'),
    text(
      CHART_WIDTH - MARGIN,
      y + 4,
      `${shown(ratio.lowerQuartile)}–${shown(ratio.upperQuartile)}`,
      'text-anchor="end" fill="#777"',
    ),
  ]
}

/** Names stay on their side of the plot. */
function fitted(name: string): string {
  return name.length <= MOST_NAME_LETTERS ? name : `${name.slice(0, MOST_NAME_LETTERS - 1)}…`
}

function shown(ratio: number): string {
  return ratio.toFixed(ratio < 10 ? 2 : ratio < 100 ? 1 : 0)
}
