/** How much is measured. */
import type { BenchContext } from '../frame/benchmark.js'
import type { Effort } from '../frame/compare.js'

export interface QueryLoad {
  /** Each is measured with so many tasks, on a pool of as many connections. */
  readonly tasks: readonly number[]
  /** In each sample. */
  readonly queries: number
  readonly effort: Effort
}

export function queryLoad({ isQuick }: BenchContext): QueryLoad {
  return isQuick
    ? { tasks: [1, 5], queries: 20, effort: { rounds: 2, warmUpRounds: 1 } }
    : { tasks: [1, 5, 20], queries: 1_500, effort: { rounds: 25, warmUpRounds: 8 } }
}
