/** `npm run bench:connects`. */
import type { Benchmark, BenchContext, Comparison, ComparisonSection } from '../frame/benchmark.js'
import { compare, controlName, type Effort } from '../frame/compare.js'
import type { Competitor } from '../frame/rounds.js'
import { startTlsPostgres, type TlsPostgres } from '../postgres/tls-postgres.js'
import { openerSets, type FreshPool, type Opener } from './openers.js'

export const connects: Benchmark = {
  name: 'connects',
  what: 'connections opened at once, and one by one',
  async run(context) {
    const postgres = await startTlsPostgres(context)
    try {
      const ways = context.isQuick ? [AT_ONCE, ONE_BY_ONE].map(quickly) : [AT_ONCE, ONE_BY_ONE]
      const sections: ComparisonSection[] = []
      for (const way of ways) sections.push(await openedIn(way, postgres, context))
      return sections
    } finally {
      await postgres.close()
    }
  },
}

interface OpeningWay {
  readonly name: string
  readonly how: string
  readonly openAll: (pool: FreshPool, connections: number) => Promise<void>
  /** Of each competitor in a round, in all its turns together. */
  readonly connections: number
  readonly effort: Effort & { readonly turns: number }
}

const AT_ONCE: OpeningWay = {
  name: 'at-once',
  how: 'at once',
  openAll: (pool, connections) =>
    Promise.all(Array.from({ length: connections }, () => pool.open())).then(() => {}),
  connections: 200,
  effort: { rounds: 21, warmUpRounds: 2, turns: 1 },
}

/** In turns, because 200 take seconds, in which this machine may become slower or faster. */
const ONE_BY_ONE: OpeningWay = {
  name: 'one-by-one',
  how: 'one by one',
  async openAll(pool, connections) {
    for (let opened = 0; opened < connections; opened++) await pool.open()
  },
  connections: 200,
  effort: { rounds: 15, warmUpRounds: 1, turns: 10 },
}

function quickly(way: OpeningWay): OpeningWay {
  return { ...way, connections: 4, effort: { rounds: 2, warmUpRounds: 0, turns: 2 } }
}

async function openedIn(
  { name, how, openAll, connections, effort }: OpeningWay,
  postgres: TlsPostgres,
  context: BenchContext,
): Promise<ComparisonSection> {
  const inTurn = connections / effort.turns
  const competitor = ({ name: called, create }: Opener): Competitor => ({
    name: called,
    async sample() {
      const pool = create(inTurn)
      const startedAt = performance.now()
      await openAll(pool, inTurn)
      const tookMs = performance.now() - startedAt
      await pool.close()
      // Nobody has to wait for a server that is still busy with those who were here before.
      await postgres.untilQuiet()
      return tookMs / inTurn
    },
  })
  const comparisons: Comparison[] = []
  for (const { client, openers } of openerSets(postgres)) {
    context.progress(`${how}, ${client}`)
    const [first, ...others] = openers
    const contest = {
      name: client,
      baseline: competitor(first),
      control: competitor({ ...first, name: controlName(first.name) }),
      others: others.map(competitor),
    }
    comparisons.push(await compare(contest, effort, context))
  }
  return {
    kind: 'comparison',
    name,
    title: `${connections} connections opened ${how}`,
    notes: [
      'The time until all are ready for a query, divided by their number; each time with a new pool and a new login, over verified TLS.',
      ...(effort.turns > 1
        ? [
            `A round has ${effort.turns} turns of ${inTurn} connections, of which the median counts.`,
          ]
        : []),
      'Where tokens are signed the server asks nobody for a password: it could not check them.',
      "Postgres.js leaves Nagle's algorithm on, and a login waits for it; pg and pg-iam do not. So the baseline has it turned off, too.",
    ],
    unit: 'ms a connection',
    better: 'less',
    comparisons,
  }
}
