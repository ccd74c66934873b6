/** The output of the soak, as text and as JSON. */
import type { FigureTable } from '../../bench/report.js'
import type { ClientName } from '../clients/index.js'
import type { CallCounts, ClientReport } from './messages.js'
import type { SoakOptions } from './options.js'
import type { Resources } from './resources.js'
import type { SoakResult } from './run-soak.js'
import type { Fault, FaultKind } from './verdict.js'

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

/** Failed calls by cause and client. */
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

/** Node's names of handles. Pipes are excluded: they connect to the parent process. */
const SOCKETS: ReadonlySet<string> = new Set(['TCPSocketWrap', 'TLSWrap', 'TCPServerWrap'])

function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? '?' : (bytes / 2 ** 20).toFixed(1)
}

function whole(value: number): string {
  return value.toLocaleString('en-GB')
}

export function progressLine(seconds: number, counts: readonly CallCounts[]): string {
  const sum = (count: keyof CallCounts): string =>
    counts.reduce((total, one) => total + one[count], 0).toLocaleString('en-GB')
  return `${Math.round(seconds)} s: ${sum('queries')} queries, ${sum('confirmed')} transactions, ${sum('failed')} failed calls`
}

/** The last lines: the faults, if any. */
export function verdictText(
  faults: readonly Fault[],
  { seed }: SoakOptions,
  tookSecs: number,
): string {
  const lines = KINDS.flatMap((kind) => {
    const texts = faults.filter((fault) => fault.kind === kind).map(({ text }) => text)
    const more = texts.length - SHOWN
    return [
      ...texts.slice(0, SHOWN).map((text) => `${kind}: ${text}`),
      ...(more > 0 ? [`${kind}: and ${more} more`] : []),
    ]
  })
  const run = `Seed ${seed}, ${Math.round(tookSecs)} s.`
  if (lines.length > 0) return [...lines, `${run} FAILED: ${faults.length} faults.`].join('\n')
  return `${run} No crash, leak or zombie. The ledger is consistent, and calls failed only because of injected faults.`
}

const KINDS: readonly FaultKind[] = ['crash', 'leak', 'zombie', 'ledger', 'failure', 'idle']
const SHOWN = 10

export function resultJson({ json: _file, ...options }: SoakOptions, result: SoakResult): string {
  const clients = [...result.ends].map(([name, { report, exit, lastOutput }]) => {
    if (report === undefined) return [name, { exit, lastOutput }]
    const { outcomes, ...rest } = report
    const identifiers = outcomes.reduce((sum, one) => sum + one.outcomes.length, 0)
    return [name, { exit, lastOutput, ...rest, identifiers }]
  })
  const { ends: _ends, ...rest } = result
  const content = { ...options, ...rest, clients: Object.fromEntries(clients) as object }
  return `${JSON.stringify(content, undefined, 2)}\n`
}
