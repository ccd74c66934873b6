/** The tables of the contract, client by promise and client by provider, counted from the tests that ran. */
'use strict'

/**
 * @typedef {{ ancestorTitles: string[], status: string }} Assertion
 * @typedef {{ passed: number, failed: number }} Cell
 * @typedef {Map<string, Map<string, Cell>>} Cells
 * @typedef {{ engines: string[], byPromise: Cells, byProvider: Cells }} Counts
 */

/** Counts the tests whose outermost `describe` is the contract of a client; skipped ones do not count as having run. */
exports.countContract = function countContract(/** @type {readonly Assertion[]} */ assertions) {
  /** @type {Counts} */
  const counts = { engines: [], byPromise: new Map(), byProvider: new Map() }
  for (const { ancestorTitles, status } of assertions) {
    const [contract = '', provider = '', engine = '', , section = ''] = ancestorTitles
    const client = /^contract of (.+)$/.exec(contract)?.[1]
    if (client === undefined || !['passed', 'failed'].includes(status)) continue
    include(counts.engines, engine.replace(/^on /, ''))
    count(counts.byPromise, client, section, status)
    count(counts.byProvider, client, provider.replace(/^with /, ''), status)
  }
  return counts
}

/** Renders the counts as Markdown tables that fit 100 columns, and says what the columns of the first stand for. */
exports.renderContract = function renderContract(/** @type {Counts} */ counts) {
  const sections = columnsOf(counts.byPromise)
  return [
    `Tests of the contract that passed, on ${counts.engines.toSorted(compare).join(' and ')}:`,
    '',
    ...renderTable(counts.byPromise, sections, shortTitle),
    '',
    ...sections.map((section) => `- ${shortTitle(section)}: ${section.replace(/^.*?: /, '')}`),
    '',
    ...renderTable(counts.byProvider, columnsOf(counts.byProvider), (provider) => provider),
    '',
  ].join('\n')
}

const { compare } = new Intl.Collator('en', { numeric: true })

/** @param {Cells} cells @param {string[]} columns @param {(column: string) => string} title */
function renderTable(cells, columns, title) {
  const clients = [...cells].toSorted(([one], [other]) => compare(one, other))
  const rows = [
    ['client', ...columns.map(title)],
    ...clients.map(([client, row]) => [
      client,
      ...columns.map((column) => renderCell(row.get(column))),
    ]),
  ]
  const widths = rows[0].map((_, column) => Math.max(2, ...rows.map((row) => row[column].length)))
  const [header, ...body] = rows.map(
    (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(' | ')} |`,
  )
  return [header, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...body]
}

/** @param {Cells} cells */
function columnsOf(cells) {
  return [...new Set([...cells.values()].flatMap((row) => [...row.keys()]))].toSorted(compare)
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

/** @param {Cells} cells @param {string} client @param {string} column @param {string} status */
function count(cells, client, column, status) {
  const row = cells.get(client) ?? new Map()
  const cell = row.get(column) ?? { passed: 0, failed: 0 }
  cell[status] += 1
  cells.set(client, row.set(column, cell))
}

/** @param {string[]} list @param {string} value */
function include(list, value) {
  if (!list.includes(value)) list.push(value)
}
