/** The tables of the soak. */
import type { FigureTable } from '../../common/report/figure-table.js'
import type { ClientName } from '../clients.js'
import type { ClientReport, Resources } from '../messages.js'
import type { SoakResult } from '../run-soak.js'

export function clientTable({ ends, resourcesBefore, resourcesAfter }: SoakResult): FigureTable {
  return {
    title: 'What the clients did',
    head: [
      '',
      'queries',
      'transactions',
      'conflicts retried',
      'lost, repeated',
      'late, refused',
      'connections',
      'reconnects',
      'tokens',
      'failed calls',
      'sockets',
      'heap, MB',
    ],
    rows: [
      ...[...ends].map(([name, { report }]) =>
        report === undefined ? [name, 'died'] : [name, ...clientCells(report)],
      ),
      [
        'the gateway',
        ...Array.from({ length: 9 }, () => ''),
        sockets(resourcesBefore, resourcesAfter),
        '',
      ],
    ],
  }
}

/** Failed calls by cause, and by client. */
export function failureTable({ ends }: SoakResult): FigureTable {
  const reports = [...ends].flatMap<[ClientName, ClientReport]>(([name, { report }]) =>
    report === undefined ? [] : [[name, report]],
  )
  const causes = [...new Set(reports.flatMap(([, { failures }]) => Object.keys(failures)))]
  return {
    title: 'Failed calls, by cause',
    head: ['', ...reports.map(([name]) => name)],
    rows: causes
      .toSorted()
      .map((cause) => [cause, ...reports.map(([, { failures }]) => whole(failures[cause] ?? 0))]),
  }
}

export function troubleTable({ troubles }: SoakResult): FigureTable {
  return {
    title: 'Troubles, besides sessions that the server ended at their age',
    head: ['', 'times'],
    rows: Object.entries(troubles)
      .toSorted(([one], [other]) => one.localeCompare(other))
      .map(([name, times]) => [name, whole(times)]),
  }
}

function clientCells({
  calls,
  connections,
  resourcesBefore,
  resourcesAfter,
  heap,
}: ClientReport): string[] {
  return [
    whole(calls.queries),
    whole(calls.confirmed),
    whole(connections.conflicts),
    whole(calls.repeated),
    whole(calls.late - calls.lateDone),
    whole(connections.connections),
    whole(connections.reconnects),
    whole(connections.tokens),
    whole(calls.failed),
    sockets(resourcesBefore, resourcesAfter),
    [heap[0], heap.at(-1)].map(megabytes).join(' → '),
  ]
}

function sockets(before: Resources, after: Resources): string {
  const count = (resources: Resources): number =>
    Object.entries(resources).reduce((sum, [kind, open]) => sum + (SOCKETS.has(kind) ? open : 0), 0)
  return `${count(before)} → ${count(after)}`
}

/** As Node calls them. Pipes are not among them: they go to the parent process. */
const SOCKETS: ReadonlySet<string> = new Set(['TCPSocketWrap', 'TLSWrap', 'TCPServerWrap'])

function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? '?' : (bytes / 2 ** 20).toFixed(1)
}

function whole(value: number): string {
  return value.toLocaleString('en-GB')
}
