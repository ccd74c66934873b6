/** The parts that charts of all kinds are drawn with. */

export const CHART_WIDTH = 760

/** SVG cannot measure text: this is a little more than the average width of a letter. */
export const LETTER_WIDTH = 6.6

/** How the title of a chart is written. */
export const TITLE = 'font-size="15" font-weight="600" fill="#111"'

/** @param drawn the elements of the chart */
export function chartDocument(title: string, height: number, drawn: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${CHART_WIDTH} ${height}" width="${CHART_WIDTH}" height="${height}" role="img" font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12" fill="#444">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${CHART_WIDTH}" height="${height}" rx="6" fill="#fff"/>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n')
}

export function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${rounded(x)}" y="${rounded(y)}"${attributes === '' ? '' : ` ${attributes}`}>${escaped(content)}</text>`
}

export function tickLabel(value: number): string {
  return value.toLocaleString('en-GB')
}

/** As exact as a screen needs it. */
export function rounded(value: number): number {
  return Math.round(value * 10) / 10
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
