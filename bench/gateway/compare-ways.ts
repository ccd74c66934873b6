/** Compares the way through the gateway with the direct one, and says what processor time it cost the gateway. */
import type { BenchContext, Comparison } from '../frame/benchmark.js'
import { compare, controlName, type Effort } from '../frame/compare.js'
import type { Competitor } from '../frame/rounds.js'
import type { Stage, Way } from './stage.js'

/** What was done by one way in one round. */
export interface Done {
  readonly figure: number
  /** Of transactions, or of connections. */
  readonly number: number
}

export interface ComparedWays {
  readonly comparison: Comparison
  /** Microseconds of the gateway's process for one transaction or connection, in each round. */
  readonly cpu: readonly number[]
}

export async function compareWays(
  name: string,
  work: (way: Way) => Promise<Done>,
  effort: Effort,
  { direct, gateway, gatewayCpu, untilQuiet }: Stage,
  context: BenchContext,
  besides: readonly Way[] = [],
): Promise<ComparedWays> {
  const cpu: number[] = []
  const workAlone = async (way: Way): Promise<Done> => {
    const done = await work(way)
    // Nobody has to wait for a server that is still busy with those who were here before.
    await untilQuiet()
    return done
  }
  const competitor = (way: Way): Competitor => ({
    name: way.name,
    sample: async () => (await workAlone(way)).figure,
  })
  const baseline = competitor(direct)
  const through = {
    name: gateway.name,
    async sample() {
      const before = await gatewayCpu()
      const { figure, number } = await workAlone(gateway)
      cpu.push(((await gatewayCpu()) - before) / number)
      return figure
    },
  }
  const control = { ...baseline, name: controlName(baseline.name) }
  const contest = { name, baseline, control, others: [through, ...besides.map(competitor)] }
  const comparison = await compare(contest, effort, context)
  return { comparison, cpu: cpu.slice(effort.warmUpRounds) }
}
