/** Shared by the benchmarks, the fleet simulation and the soak test: tables, pages, and information about the machine. */
import { readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import Table from 'cli-table3'
import { format, resolveConfig } from 'prettier'
import { resultOf, type Row, type Summary } from './rounds.js'

/** A table of figures, for the terminal and for a page. */
export interface FigureTable {
  readonly title: string
  /** The first column contains names, the others figures. */
  readonly head: readonly string[]
  /** The number of columns with names, if there is more than one. */
  readonly nameColumns?: number
  readonly rows: readonly (readonly string[])[]
}

export function terminalTable({ title, head, rows, nameColumns = 1 }: FigureTable): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column < nameColumns ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  })
  table.push(...rows.map((row) => [...row]))
  return `${title}\n${table.toString()}\n`
}

export function markdownTable({ head, rows, nameColumns = 1 }: FigureTable): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const alignments = head.map((_, column) => (column < nameColumns ? '---' : '--:'))
  return [line(head), line(alignments), ...rows.map(line)].join('\n')
}

/** Writes a page of docs/, in the format that `npm run lint` checks. */
export async function writePage(file: string, content: string): Promise<void> {
  const style = await resolveConfig(file)
  await writeFile(file, await format(content, { ...style, filepath: file }))
}

/** The results of the benchmarks, one line for each row. */
export function rowTable(rows: readonly Row[]): FigureTable {
  return {
    title: 'Less is better. Median (quartiles); the control is the baseline against itself.',
    head: ['what', 'against', 'measured', 'ratio', 'control', ''],
    nameColumns: 2,
    rows: rows.map((row) => [
      `${row.what}: ${row.competitor}`,
      row.against,
      `${short(row.figure.median)} against ${short(row.baseline.median)} ${row.unit}`,
      ...[row.compared, row.control].map((one) => comparison(one)),
      resultOf(row),
    ]),
  }
}

function comparison({ median, lowerQuartile, upperQuartile }: Summary): string {
  return `${median.toFixed(2)} (${lowerQuartile.toFixed(2)} to ${upperQuartile.toFixed(2)})`
}

/** Three significant digits, which is about the accuracy of the measurement. */
function short(value: number): string {
  const size = Math.abs(value)
  const digits = Number.isInteger(value) || size >= 100 ? 0 : size >= 10 ? 1 : 2
  return value.toLocaleString('en-GB', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
}

const BEGIN = '<!-- Written by `npm run bench -- --docs FILE`: -->'
const END = '<!-- End of what is written. -->'

/**
 * Replaces the text between the two comments of a page.
 *
 * @throws Error if the page does not have the comments
 */
export function replaceWritten(page: string, content: string): string {
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin < 0 || end < begin)
    throw new Error(`the page must have "${BEGIN}" and, below it, "${END}"`)
  return `${page.slice(0, begin)}${BEGIN}\n\n${content}\n\n${page.slice(end)}`
}

/** @param root the directory of this repository */
export async function describeMachine(root: string): Promise<string> {
  const { version } = JSON.parse(await readFile(`${root}/package.json`, 'utf8')) as {
    version: string
  }
  const processors = cpus()
  const model = processors[0]?.model.trim() ?? 'unknown'
  return `pg-iam ${version}, Node ${process.versions.node}, ${process.platform} ${process.arch}, ${processors.length} × ${model}`
}
