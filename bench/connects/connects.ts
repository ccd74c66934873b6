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
      const load = context.isQuick ? QUICK : FULL
      const loadOneByOne = context.isQuick ? QUICK : FULL_ONE_BY_ONE
      return [
        await openedWith(atOnce, 'at-once', 'at once', postgres, load, context),
        await openedWith(oneByOne, 'one-by-one', 'one by one', postgres, loadOneByOne, context),
      ]
    } finally {
      await postgres.close()
    }
  },
}

interface ConnectLoad {
  readonly connections: number
  readonly effort: Effort
}

const FULL: ConnectLoad = { connections: 200, effort: { rounds: 17, warmUpRounds: 2 } }
/** A sample is the sum of so many, and Postgres.js alone takes ten seconds for one. */
const FULL_ONE_BY_ONE: ConnectLoad = { connections: 200, effort: { rounds: 9, warmUpRounds: 1 } }
const QUICK: ConnectLoad = { connections: 5, effort: { rounds: 2, warmUpRounds: 0 } }

async function openedWith(
  openAll: (pool: FreshPool, connections: number) => Promise<void>,
  name: string,
  how: string,
  postgres: TlsPostgres,
  { connections, effort }: ConnectLoad,
  context: BenchContext,
): Promise<ComparisonSection> {
  const competitor = ({ name: called, create }: Opener): Competitor => ({
    name: called,
    async sample() {
      const pool = create(connections)
      const startedAt = performance.now()
      await openAll(pool, connections)
      const tookMs = performance.now() - startedAt
      await pool.close()
      // Nobody has to wait for a server that is still busy with those who were here before.
      await postgres.untilQuiet()
      return tookMs
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
      'The time until all are ready for a query, each time with a new pool and a new login, over verified TLS.',
      'Where tokens are signed the server asks nobody for a password: it could not check them.',
      "Postgres.js leaves Nagle's algorithm on, and a login waits for it; pg and pg-iam do not. So the baseline has it turned off, too.",
    ],
    unit: 'ms',
    better: 'less',
    comparisons,
  }
}

async function atOnce(pool: FreshPool, connections: number): Promise<void> {
  await Promise.all(Array.from({ length: connections }, () => pool.open()))
}

async function oneByOne(pool: FreshPool, connections: number): Promise<void> {
  for (let opened = 0; opened < connections; opened++) await pool.open()
}
