/** The tables as the terminal shows them. */
import Table from 'cli-table3'
import type { FigureTable } from './figure-table.js'

export function terminalTable({ title, head, rows, nameColumns = 1 }: FigureTable): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column < nameColumns ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  })
  table.push(...rows.map((row) => [...row]))
  return `${title}\n${table.toString()}\n`
}
