/** The tables of the benchmarks. */
import type { FigureTable } from '../../common/report/figure-table.js'
import type { ComparisonSection, CountSection, Section } from '../benchmark.js'
import type { Summary } from '../statistics.js'
import { curveTable } from './curve-table.js'

export function sectionTable(section: Section): FigureTable {
  switch (section.kind) {
    case 'comparison':
      return comparisonTable(section)
    case 'curves':
      return curveTable(section)
    case 'counts':
      return countTable(section)
  }
}

function comparisonTable({ title, unit, better, comparisons }: ComparisonSection): FigureTable {
  return {
    title: `${title} (${unit}, ${better} is better)`,
    head: ['', '', 'median', 'quartiles', 'ratio', 'quartiles', 'least – most'],
    nameColumns: 2,
    rows: comparisons.flatMap(({ name, control, results }) =>
      results.map((result, index) => [
        index === 0 ? name : '',
        result.name === control ? `${control} (control)` : result.name,
        short(result.figure.median),
        quartiles(result.figure, short),
        ratio(result.ratio.median),
        quartiles(result.ratio, ratio),
        `${ratio(result.ratio.least)} – ${ratio(result.ratio.most)}`,
      ]),
    ),
  }
}

function countTable({ title, rows }: CountSection): FigureTable {
  const columns = [...new Set(rows.flatMap(({ counts }) => Object.keys(counts)))]
  return {
    title,
    head: ['', ...columns],
    rows: rows.map(({ name, counts }) => [
      name,
      ...columns.map((column) => counts[column]?.toLocaleString('en-GB') ?? ''),
    ]),
  }
}

function quartiles(
  { lowerQuartile, upperQuartile }: Summary,
  shown: (value: number) => string,
): string {
  return `${shown(lowerQuartile)} – ${shown(upperQuartile)}`
}

/** Three digits that count, and no more than the machine can tell. */
function short(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return value.toLocaleString('en-GB', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
}

function ratio(value: number): string {
  return value.toFixed(2)
}
