import type { Benchmark } from '../../../bench/frame/benchmark.js'
import { leftOutText, runnable } from '../../../bench/frame/runnable.js'

function benchmark(name: string, missing?: string): Benchmark {
  const run = (): Promise<never> => Promise.reject(new Error('it was only asked for'))
  const common = { name, what: '', run }
  return missing === undefined ? common : { ...common, missing: async () => missing || undefined }
}

const [needsNothing, hasAll, lacks] = [
  benchmark('tokens'),
  benchmark('start', ''),
  benchmark('gateway', 'there is no pgbench'),
]
const chosen = [needsNothing, lacks, hasAll]

describe('runnable', () => {
  it('leaves out what lacks something where nobody named it, and says why', async () => {
    const { benchmarks, leftOut } = await runnable(chosen, false)
    expect(benchmarks).toEqual([needsNothing, hasAll])
    expect(leftOut.map(leftOutText)).toEqual([
      'the benchmark "gateway" cannot run: there is no pgbench',
    ])
  })

  it('fails before anything runs where it was named', async () => {
    await expect(runnable(chosen, true)).rejects.toThrow(
      'the benchmark "gateway" cannot run: there is no pgbench',
    )
  })

  it('takes all where nothing is missing', async () => {
    const all = [needsNothing, hasAll]
    expect(await runnable(all, true)).toEqual({ benchmarks: all, leftOut: [] })
  })
})
