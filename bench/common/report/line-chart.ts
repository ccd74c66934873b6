/** Line charts as SVG: panels below each other that share their horizontal axis. */
import { CHART_WIDTH, LETTER_WIDTH, TITLE, chartDocument, rounded, text, tickLabel } from './svg.js'

export interface LineChart {
  title: string
  x: HorizontalAxis
  panels: readonly Panel[]
}

export interface HorizontalAxis {
  label: string
  /** The values at its ends; on a logarithmic scale above 0. */
  from: number
  to: number
  /** From one tick to the next: so much more or, on a logarithmic scale, so many times as much. */
  tickEvery: number
  /** Default `linear`. */
  scale?: 'linear' | 'logarithmic'
}

export interface Panel {
  title: string
  /** A logarithmic scale begins at 1, and shows what is less there too. */
  scale: 'linear' | 'logarithmic'
  /** The value at the bottom of a linear scale. Default 0. */
  bottom?: number
  /** The value at the top. */
  top: number
  lines: readonly Line[]
}

/** Lines of the same name have one entry in the legend. Later ones lie above earlier ones, and come first in the legend. */
export interface Line {
  name: string
  colour: string
  points: readonly (readonly [number, number])[]
  isDashed?: boolean
}

export function lineChart(chart: LineChart): string {
  const lines = new Map(chart.panels.flatMap((panel) => panel.lines).map((one) => [one.name, one]))
  const entries = legend([...lines.values()].toReversed())
  const top = entries.bottom + 42
  const height = top + chart.panels.length * PANEL_PITCH - 10
  return chartDocument(chart.title, height, [
    text(LEFT, 24, chart.title, TITLE),
    ...entries.drawn,
    ...chart.panels.flatMap((panel, index) => drawPanel(panel, chart, top + index * PANEL_PITCH)),
    text(LEFT + PLOT_WIDTH / 2, height - 12, chart.x.label, 'text-anchor="middle"'),
  ])
}

const WIDTH = CHART_WIDTH
const LEFT = 60
const PLOT_WIDTH = WIDTH - LEFT - 24
const PLOT_HEIGHT = 170
/** A title above, ticks below. */
const PANEL_PITCH = PLOT_HEIGHT + 62

function legend(lines: readonly Line[]): { drawn: string[]; bottom: number } {
  const drawn: string[] = []
  let x = LEFT
  let y = 50
  for (const { name, colour, isDashed } of lines) {
    const width = 26 + name.length * LETTER_WIDTH
    if (x + width > WIDTH) {
      x = LEFT
      y += 20
    }
    drawn.push(`<path d="M${rounded(x)} ${y - 4}h20" ${strokeOf(colour, isDashed)}/>`)
    drawn.push(text(x + 26, y, name))
    x += width + 22
  }
  return { drawn, bottom: y }
}

function drawPanel(panel: Panel, { x }: LineChart, top: number): string[] {
  const across = acrossOf(x)
  const share = shareOf(panel)
  const down = (value: number): number => top + PLOT_HEIGHT * (1 - share(value))
  const grid = ticksOf(panel).flatMap((value) => {
    const y = rounded(down(value))
    const isLowest = panel.scale === 'logarithmic' && value === 1
    const content = isLowest ? '≤ 1' : tickLabel(value)
    const label = text(LEFT - 8, y + 4, content, 'text-anchor="end"')
    return [`<path d="M${LEFT} ${y}h${PLOT_WIDTH}" stroke="#e3e3e3"/>`, label]
  })
  const ticks = horizontalTicks(x).flatMap((value) => {
    const at = rounded(across(value))
    const label = text(at, top + PLOT_HEIGHT + 17, tickLabel(value), 'text-anchor="middle"')
    return [`<path d="M${at} ${top + PLOT_HEIGHT}v4" stroke="#999"/>`, label]
  })
  const lines = panel.lines.map(({ points, colour, isDashed }) => {
    const path = points.map(([at, value]) => `${rounded(across(at))} ${rounded(down(value))}`)
    return `<polyline points="${path.join(',')}" fill="none" stroke-linejoin="round" ${strokeOf(colour, isDashed)}/>`
  })
  return [text(LEFT, top - 10, panel.title, 'font-weight="600"'), ...grid, ...ticks, ...lines]
}

function acrossOf({ from, to, scale }: HorizontalAxis): (value: number) => number {
  const share =
    scale === 'logarithmic'
      ? (value: number) => Math.log(value / from) / Math.log(to / from)
      : (value: number) => (value - from) / (to - from)
  return (value) => LEFT + PLOT_WIDTH * share(value)
}

function horizontalTicks({ from, to, tickEvery, scale }: HorizontalAxis): number[] {
  const next = (value: number): number =>
    scale === 'logarithmic' ? value * tickEvery : value + tickEvery
  const ticks = []
  for (let value = from; value <= to; value = next(value)) ticks.push(value)
  return ticks
}

/** Which part of the panel's height a value takes. */
function shareOf({ scale, bottom = 0, top }: Panel): (value: number) => number {
  if (scale === 'linear') return (value) => (value - bottom) / (top - bottom)
  return (value) => Math.log10(Math.max(1, value)) / Math.log10(top)
}

function ticksOf({ scale, bottom = 0, top }: Panel): number[] {
  if (scale === 'linear')
    return [0, 0.25, 0.5, 0.75, 1].map((part) => bottom + part * (top - bottom))
  const ticks = []
  for (let value = 1; value <= top; value *= 10) ticks.push(value)
  return ticks
}

function strokeOf(colour: string, isDashed = false): string {
  return `stroke="${colour}" stroke-width="${isDashed ? 1.5 : 2}"${isDashed ? ' stroke-dasharray="5 4"' : ''}`
}
