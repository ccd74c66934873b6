/** Colours for terminals. */

export type Paint = Readonly<Record<'bold' | 'green' | 'red', (text: string) => string>>

/**
 * Where colours are not wanted, every function returns its text as it is. `util.styleText` would ask `process.stdout` about
 * that, in some versions of Node, and not the stream that is written to.
 */
export function createPaint(isColoured: boolean): Paint {
  const style =
    (on: number, off: number) =>
    (text: string): string =>
      isColoured ? `\u001B[${on}m${text}\u001B[${off}m` : text
  return { bold: style(1, 22), green: style(32, 39), red: style(31, 39) }
}
