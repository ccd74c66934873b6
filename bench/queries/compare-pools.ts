/** Compares pools by the queries that they do. */
import type { BenchContext, Comparison } from '../frame/benchmark.js'
import { compare, controlName } from '../frame/compare.js'
import type { Competitor } from '../frame/rounds.js'
import type { BenchPool } from './clients/bench-client.js'
import type { QueryLoad } from './load.js'
import { throughput } from './throughput.js'

export type OpenPool = () => BenchPool | Promise<BenchPool>

export interface PoolContest {
  readonly name: string
  readonly tasks: number
  readonly baseline: readonly [string, OpenPool]
  readonly others: readonly (readonly [string, OpenPool])[]
}

/** All pools are open at the same time, so that each keeps its connections from round to round. */
export async function comparePools(
  { name, tasks, baseline, others }: PoolContest,
  { queries, effort }: QueryLoad,
  context: BenchContext,
): Promise<Comparison> {
  context.progress(name)
  const pools: BenchPool[] = []
  const open = async ([competitor, openPool]: readonly [string, OpenPool]): Promise<Competitor> => {
    const pool = await openPool()
    pools.push(pool)
    return { name: competitor, sample: () => throughput(pool, tasks, queries) }
  }
  try {
    const [first, again] = [
      await open(baseline),
      await open([controlName(baseline[0]), baseline[1]]),
    ]
    const rest: Competitor[] = []
    for (const other of others) rest.push(await open(other))
    return await compare({ name, baseline: first, control: again, others: rest }, effort, context)
  } finally {
    await Promise.all(pools.map((pool) => pool.close()))
  }
}
