/** A table of figures, for the terminal and for a page. */

export interface FigureTable {
  readonly title: string
  /** The first column has names, the others figures. */
  readonly head: readonly string[]
  /** How many columns have names, where it is more than the first. */
  readonly nameColumns?: number
  readonly rows: readonly (readonly string[])[]
}

export function markdownTable({ head, rows, nameColumns = 1 }: FigureTable): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const alignments = head.map((_, column) => (column < nameColumns ? '---' : '--:'))
  return [line(head), line(alignments), ...rows.map(line)].join('\n')
}
