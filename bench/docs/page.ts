/** The page of all figures. */
import { markdownTable } from '../common/report/figure-table.js'
import type { Section } from '../frame/benchmark.js'
import { sectionTable } from '../frame/report/tables.js'
import { GOALS } from './goals/goals.js'
import { MOST_NOISE } from './goals/within-control.js'
import { howMeasured, whenMeasured } from './how-measured.js'
import type { Measured } from './results.js'
import { judgeAll, summaryLine, summaryTable } from './summary.js'

export function page(measured: readonly Measured[]): string {
  const judged = judgeAll(GOALS, measured)
  return `<!-- Written by \`npm run bench -- --docs docs\`. -->

# Performance

What a login by pg-iam costs, side by side with a static password, with the clouds' own connectors, and with PostgreSQL's own TLS.
The goals were set before these figures were measured. ${summaryLine(judged)}

${markdownTable(summaryTable(judged, (path) => anchorOf(path, measured)))}

"0.98x" is the median of ratios: in each round the figure of a competitor is divided by that of the baseline. The control is the
baseline once more; its ratio is 1 but for chance and the machine, and shown are its quartiles. "Within the spread of the control" is a
median between these quartiles, or between them and 1; what is better than that has met the goal, too. Where these quartiles are more
than ${MOST_NOISE} away from 1 they would let anything within pass: that is "too noisy". Of a curve the second half counts, where warming up is
over; "±" is the standard error, and a goal within two of them is "too noisy" as well.

## How it was measured

${howMeasured(measured)}
${measured.flatMap((one) => one.sections.map((section) => `\n${sectionText(one, section)}\n`)).join('')}`
}

/** Where the chart of a section is, seen from the page. */
export function chartFile(benchmark: string, { name }: Section): string {
  return `performance/${benchmark}-${name}.svg`
}

function sectionText(measured: Measured, section: Section): string {
  const { title, notes } = section
  const table = sectionTable(section)
  const figures = markdownTable(table)
  const isLong = table.rows.length > LONGEST_OPEN_TABLE
  return [
    `## ${title}`,
    ...(section.kind === 'counts' ? [] : [`![${title}](${chartFile(measured.name, section)})`]),
    ...aboutFigures(section),
    ...(notes.length === 0 ? [] : [notes.join(' ')]),
    isLong ? `<details><summary>All figures</summary>\n\n${figures}\n\n</details>` : figures,
    whenMeasured(measured),
  ].join('\n\n')
}

function aboutFigures(section: Section): string[] {
  switch (section.kind) {
    case 'comparison':
      return [`In ${section.unit}; ${section.better} is better.`]
    case 'curves': {
      const { label, unit } = section.y
      return [`Figures are the ${label}${unit === '' ? '' : `, in ${unit}`}.`]
    }
    case 'counts':
      return []
  }
}

/** Longer ones are folded: their chart has the same figures. */
const LONGEST_OPEN_TABLE = 24

/** As GitHub makes it of the heading. */
function anchorOf(path: string, measured: readonly Measured[]): string | undefined {
  const found = measured
    .flatMap(({ name, sections }) => sections.map((section) => ({ name, section })))
    .find(({ name, section }) => `${name}/${section.name}` === path)
  if (found === undefined) return undefined
  const words = found.section.title.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '')
  return `#${words.trim().replaceAll(/\s/g, '-')}`
}
