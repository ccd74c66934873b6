/** How many queries a pool does. */
import type { BenchPool } from './clients/bench-client.js'

/** Runs `queries` from so many tasks, each of which has one query under way at a time. Resolves with queries a second. */
export async function throughput(
  { query }: Pick<BenchPool, 'query'>,
  tasks: number,
  queries: number,
): Promise<number> {
  let left = queries
  const work = async (): Promise<void> => {
    while (left-- > 0) await query()
  }
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: tasks }, work))
  return queries / ((performance.now() - startedAt) / 1_000)
}
