/** How many tokens one process checks, beside the connections that it would check them for. */
import type { BenchContext, ComparisonSection } from '../frame/benchmark.js'
import { compare, controlName, type Effort } from '../frame/compare.js'
import type { Competitor } from '../frame/rounds.js'
import { atOnce, millisecondsEach } from './opened.js'
import type { Stage } from './stage.js'
import { makeTokenPools, type TokenPool } from './token-pools.js'

export async function tokenChecks(stage: Stage, context: BenchContext): Promise<ComparisonSection> {
  const { tokens, connections, effort } = context.isQuick ? QUICK : FULL
  context.progress(`${tokens} tokens of each kind`)
  const pools = await makeTokenPools(tokens)
  context.progress('checks')
  const baseline: Competitor = {
    name: `connections, ${connections} at once`,
    async sample() {
      const each = await millisecondsEach(atOnce, connections, stage.gateway)
      await stage.untilQuiet()
      return 1_000 / each
    },
  }
  const contest = {
    name: 'one process',
    baseline,
    control: { ...baseline, name: controlName(baseline.name) },
    others: pools.map((pool) => ({
      name: `pg-iam gateway's check, ${pool.name}`,
      sample: () => checksPerSecond(pool),
    })),
  }
  return {
    kind: 'comparison',
    name: 'checks',
    title: 'Token checks, beside connections through the gateway',
    notes: [
      `Each check is of another one of ${tokens.toLocaleString('en-GB')} tokens, one after another, by the method that the gateway's listeners call.`,
      'Entra ID: RS256, by jose. Cloud SQL: a look-up, as the gateway gives those tokens itself; Google is asked over the network otherwise.',
      'The ratio is how many checks there are time for in one connection.',
    ],
    unit: 'a second',
    better: 'more',
    comparisons: [await compare(contest, effort, context)],
  }
}

interface ChecksLoad {
  /** Of each kind. */
  readonly tokens: number
  readonly connections: number
  readonly effort: Effort
}

const FULL: ChecksLoad = {
  tokens: 1_000,
  connections: 50,
  effort: { rounds: 15, warmUpRounds: 2 },
}
const QUICK: ChecksLoad = { tokens: 10, connections: 5, effort: { rounds: 2, warmUpRounds: 0 } }

async function checksPerSecond({ method, logins }: TokenPool): Promise<number> {
  const startedAt = performance.now()
  for (const { request, client } of logins) {
    const verdict = await method.authenticate(request, client)
    if ('refused' in verdict) throw new Error(`a token was refused: ${verdict.refused.reason}`)
  }
  return logins.length / ((performance.now() - startedAt) / 1_000)
}
