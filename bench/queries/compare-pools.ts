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

/**
 * Pools are opened anew for each round, all of them before its first turn. The same pool, opened twice, has been up to 15 % faster or
 * slower than itself for as long as it was open, by where the system had put its server's processes.
 */
export function comparePools(
  { name, tasks, baseline, others }: PoolContest,
  { queries, effort }: QueryLoad,
  context: BenchContext,
): Promise<Comparison> {
  context.progress(name)
  const competitor = ([called, openPool]: readonly [string, OpenPool]): Competitor => {
    let pool: BenchPool | undefined
    return {
      name: called,
      async open() {
        pool = await openPool()
      },
      sample: () => throughput(pool!, tasks, queries(tasks)),
      async close() {
        await pool?.close()
        pool = undefined
      },
    }
  }
  const contest = {
    name,
    baseline: competitor(baseline),
    control: competitor([controlName(baseline[0]), baseline[1]]),
    others: others.map(competitor),
  }
  return compare(contest, effort, context)
}
