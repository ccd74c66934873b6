/** The tables of the demo, at most 80 columns wide. */
import Table from 'cli-table3'
import type { Paint } from './paint.js'
import type { Refusal } from './refusals.js'
import type { ClientSummary } from './summary.js'

const COLUMNS = ['open', 'connections', 'tokens', 'queries', 'transactions', 'failures'] as const

/** One row for each client, and the total. */
export function clientTable(clients: readonly ClientSummary[], paint: Paint): string {
  const table = new Table({
    ...PLAIN,
    head: ['client', ...COLUMNS].map(paint.bold),
    colAligns: ['left', ...COLUMNS.map(() => 'right' as const)],
  })
  for (const client of clients)
    table.push([client.name, ...COLUMNS.map((column) => cell(column, client[column], paint))])
  const sum = (column: (typeof COLUMNS)[number]): number =>
    clients.reduce((total, client) => total + client[column], 0)
  table.push(['all', ...COLUMNS.map((column) => cell(column, sum(column), paint))])
  return trimmed(table)
}

/** What the client and the gateway reported for each bad token. */
export function refusalTable(refusals: readonly Refusal[], paint: Paint): string {
  const table = new Table({
    ...PLAIN,
    chars: { ...PLAIN.chars, bottom: '', 'bottom-mid': '' },
    head: ['token', 'the client saw', "the gateway's log"].map(paint.bold),
    colWidths: [11, 36, 31],
    wordWrap: true,
  })
  for (const { token, clientSaw, gatewayLogged, isRefused } of refusals)
    table.push([isRefused ? token : paint.red(token), clientSaw, gatewayLogged])
  return trimmed(table)
}

/** The library pads the last column with spaces too. */
function trimmed(table: Table.Table): string {
  return table.toString().replace(/ +$/gm, '')
}

function cell(column: (typeof COLUMNS)[number], count: number, paint: Paint): string {
  const text = count.toLocaleString('en')
  return column === 'failures' && count > 0 ? paint.red(text) : text
}

/** Without lines between the rows, and without the library's default colours. */
const PLAIN = {
  chars: {
    top: '─',
    'top-mid': '─',
    'top-left': '',
    'top-right': '',
    bottom: '─',
    'bottom-mid': '─',
    'bottom-left': '',
    'bottom-right': '',
    mid: '',
    'mid-mid': '',
    'left-mid': '',
    'right-mid': '',
    left: '',
    right: '',
    middle: ' ',
  },
  style: { head: [], border: [], 'padding-left': 0, 'padding-right': 1 },
}
