/** Transactions of pgbench: directly, and through the gateway; and the processor time that they cost the gateway. */
import type {
  BenchContext,
  Comparison,
  ComparisonSection,
  CountRow,
  CountSection,
} from '../frame/benchmark.js'
import type { Effort } from '../frame/compare.js'
import { summarize } from '../frame/statistics.js'
import { compareWays, type Done } from './compare-ways.js'
import type { Pgbench } from './pgbench/find-pgbench.js'
import { runPgbench, type PgbenchLoad } from './pgbench/run-pgbench.js'
import type { Stage, Way } from './stage.js'

export async function queriesThroughGateway(
  stage: Stage,
  program: Pgbench,
  context: BenchContext,
): Promise<[ComparisonSection, CountSection]> {
  const { clients, effort, transactions } = context.isQuick ? QUICK : FULL
  const comparisons: Comparison[] = []
  const rows: CountRow[] = []
  for (const { name, statements, ...kind } of KINDS) {
    for (const count of clients) {
      const load = { ...kind, clients: count, transactions: transactions[kind.script] }
      const title = `${name}, ${count} ${count === 1 ? 'client' : 'clients'}`
      context.progress(title)
      const work = async ({ conninfo, password }: Way): Promise<Done> => {
        const report = await runPgbench(program, load, conninfo, await password())
        return { figure: report.perSecond, number: report.transactions }
      }
      const { comparison, cpu } = await compareWays(title, work, effort, stage, context, [
        stage.relay,
      ])
      comparisons.push(comparison)
      rows.push(cpuRow(title, cpu, statements))
    }
  }
  return [
    {
      kind: 'comparison',
      name: 'queries',
      title: 'Transactions of pgbench',
      notes: [
        'The same transactions each time, by a client in C, over verified TLS; the time of its connects is left out. The gateway is a',
        'process of its own in front of the same PostgreSQL, by its Unix socket, and gets a new token for RDS as the password. The',
        'relay is a process of Node that does TLS and passes bytes on, checks nothing and lets everybody in: what the gateway could reach.',
        stage.tls,
      ],
      unit: 'transactions/s',
      better: 'more',
      comparisons,
    },
    {
      kind: 'counts',
      name: 'query-cpu',
      title: "Processor time of the gateway's process",
      notes: [
        'User and system time, in the rounds of the table above, by the transactions of the round; a transaction of TPC-B has 7',
        'statements. The logins of a round are in it: one for each client, and one more.',
      ],
      rows,
    },
  ]
}

interface QueriesLoad {
  readonly clients: readonly number[]
  /** How many transactions a round has, by script. */
  readonly transactions: Readonly<Record<PgbenchLoad['script'], number>>
  readonly effort: Effort
}

/** A round of each takes between half a second and two. */
const FULL: QueriesLoad = {
  clients: [1, 4, 16],
  transactions: { 'select-only': 6_000, 'tpcb-like': 900 },
  effort: { rounds: 11, warmUpRounds: 1 },
}
const QUICK: QueriesLoad = {
  clients: [1, 4],
  transactions: { 'select-only': 40, 'tpcb-like': 8 },
  effort: { rounds: 2, warmUpRounds: 0 },
}

const KINDS: readonly (Pick<PgbenchLoad, 'script' | 'protocol'> & {
  readonly name: string
  /** In each transaction. */
  readonly statements: number
})[] = [
  { name: 'select-only, simple', script: 'select-only', protocol: 'simple', statements: 1 },
  { name: 'select-only, prepared', script: 'select-only', protocol: 'prepared', statements: 1 },
  { name: 'TPC-B, simple', script: 'tpcb-like', protocol: 'simple', statements: 7 },
]

/** @param cpu microseconds for a transaction, one figure for each round */
function cpuRow(name: string, cpu: readonly number[], statements: number): CountRow {
  const { lowerQuartile, median, upperQuartile } = summarize(cpu)
  return {
    name,
    counts: {
      'µs a transaction': toTenths(median),
      'lower quartile': toTenths(lowerQuartile),
      'upper quartile': toTenths(upperQuartile),
      'µs a statement': toTenths(median / statements),
    },
  }
}

function toTenths(figure: number): number {
  return Math.round(figure * 10) / 10
}
