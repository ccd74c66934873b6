import type { BenchContext } from '../../../bench/frame/benchmark.js'
import { compare, controlName } from '../../../bench/frame/compare.js'
import { createSeededRandom } from '../../../bench/common/seeded-random.js'
import type { Competitor } from '../../../bench/frame/rounds.js'

const context: BenchContext = {
  isQuick: true,
  random: createSeededRandom(1),
  progress: () => {},
  uses: () => {},
}

/** Gives its figures one after another. */
function competitor(name: string, figures: readonly number[]): Competitor {
  const left = [...figures]
  return { name, sample: async () => left.shift()! }
}

describe('compare', () => {
  it('sets every competitor against the baseline of the same round', async () => {
    const contest = {
      name: 'pg, 1 task',
      baseline: competitor('static', [0, 1, 2, 10]),
      control: competitor(controlName('static'), [0, 1, 2, 12]),
      others: [competitor('pg-iam', [0, 2, 1, 20])],
    }
    const effort = { rounds: 3, warmUpRounds: 1 }
    const { results, ...rest } = await compare(contest, effort, context)
    expect(rest).toEqual({ name: 'pg, 1 task', baseline: 'static', control: 'static, again' })
    expect(results.map(({ name, samples }) => [name, samples])).toEqual([
      ['static', [1, 2, 10]],
      ['static, again', [1, 2, 12]],
      ['pg-iam', [2, 1, 20]],
    ])
    expect(results.map(({ ratio }) => [ratio.least, ratio.median, ratio.most])).toEqual([
      [1, 1, 1],
      [1, 1, 1.2],
      [0.5, 2, 2],
    ])
    expect(results[2]!.figure).toMatchObject({ least: 1, median: 2, most: 20 })
  })
})
