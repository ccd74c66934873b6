/** How much is measured. */
import type { BenchContext } from '../frame/benchmark.js'
import type { Effort } from '../frame/compare.js'

export interface QueryLoad {
  /** Each is measured with so many tasks, on a pool of as many connections. */
  readonly tasks: readonly number[]
  /** In each turn, of all tasks together: as many as take some fiftieths of a second. */
  readonly queries: (tasks: number) => number
  readonly effort: Effort
}

export function queryLoad({ isQuick }: BenchContext): QueryLoad {
  return isQuick
    ? { tasks: [1, 5], queries: () => 20, effort: { rounds: 2, warmUpRounds: 1, turns: 2 } }
    : {
        tasks: [1, 5, 20],
        queries: (tasks) => (tasks === 1 ? 150 : 450),
        // In the first turn of a round connections are opened, and PostgreSQL's processes read their catalogues.
        effort: { rounds: 15, warmUpRounds: 2, turns: 5, warmUpTurns: 1 },
      }
}
