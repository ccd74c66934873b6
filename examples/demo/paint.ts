/** Colours for terminals. */

export type Paint = Readonly<Record<'bold' | 'green' | 'red', (text: string) => string>>

/**
 * Without colours, every function returns its text unchanged. In some versions of Node, `util.styleText` checks `process.stdout`
 * instead of the stream that is written to.
 */
export function createPaint(isColoured: boolean): Paint {
  const style =
    (on: number, off: number) =>
    (text: string): string =>
      isColoured ? `\u001B[${on}m${text}\u001B[${off}m` : text
  return { bold: style(1, 22), green: style(32, 39), red: style(31, 39) }
}
