/** The table of client by promise, counted from the tests of the contract that ran. */
'use strict'

/**
 * @typedef {{ ancestorTitles: string[], status: string }} Assertion
 * @typedef {{ passed: number, failed: number }} Cell
 * @typedef {{ engines: string[], sections: string[], clients: Map<string, Map<string, Cell>> }} Counts
 */

/** Counts the tests whose outermost `describe` is the contract of a client; skipped ones do not count as having run. */
exports.countContract = function countContract(/** @type {readonly Assertion[]} */ assertions) {
  /** @type {Counts} */
  const counts = { engines: [], sections: [], clients: new Map() }
  for (const { ancestorTitles, status } of assertions) {
    const [contract = '', engine = '', , section = ''] = ancestorTitles
    const client = /^contract of (.+)$/.exec(contract)?.[1]
    if (client === undefined || !['passed', 'failed'].includes(status)) continue
    include(counts.engines, engine.replace(/^on /, ''))
    include(counts.sections, section)
    const cells = counts.clients.get(client) ?? new Map()
    const cell = cells.get(section) ?? { passed: 0, failed: 0 }
    cell[status] += 1
    counts.clients.set(client, cells.set(section, cell))
  }
  return counts
}

/** Renders the counts as a Markdown table that fits 80 columns, and says below what its columns stand for. */
exports.renderContract = function renderContract(/** @type {Counts} */ counts) {
  const { compare } = new Intl.Collator('en', { numeric: true })
  const engines = counts.engines.toSorted(compare)
  const sections = counts.sections.toSorted(compare)
  const clients = [...counts.clients].toSorted(([one], [other]) => compare(one, other))
  const rows = [
    ['client', ...sections.map((section) => shortTitle(section))],
    ...clients.map(([client, cells]) => [
      client,
      ...sections.map((section) => renderCell(cells.get(section))),
    ]),
  ]
  const widths = rows[0].map((_, column) => Math.max(2, ...rows.map((row) => row[column].length)))
  const [header, ...body] = rows.map(
    (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(' | ')} |`,
  )
  return [
    `Tests of the contract that passed, on ${engines.join(' and ')}:`,
    '',
    header,
    `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`,
    ...body,
    '',
    ...sections.map((section) => `- ${shortTitle(section)}: ${section.replace(/^.*?: /, '')}`),
    '',
  ].join('\n')
}

/** A promise goes by its number, other sections by their first word. @param {string} section */
function shortTitle(section) {
  return section.replace(/:.*$/, '').replace(/^promise /, '')
}

/** @param {Cell | undefined} cell */
function renderCell(cell) {
  if (cell === undefined) return '-'
  const { passed, failed } = cell
  return failed === 0 ? String(passed) : `${passed}, ${failed} FAILED`
}

/** @param {string[]} list @param {string} value */
function include(list, value) {
  if (!list.includes(value)) list.push(value)
}
