import { throughput } from '../../../bench/queries/throughput.js'

describe('throughput', () => {
  it.each([
    [1, 7],
    [3, 10],
    [5, 5],
  ])('keeps %i queries under way, and runs %i in all', async (tasks, queries) => {
    let run = 0
    let underWay = 0
    let most = 0
    const query = async (): Promise<void> => {
      run++
      most = Math.max(most, ++underWay)
      await new Promise(setImmediate)
      underWay--
    }
    expect(await throughput({ query }, tasks, queries)).toBeGreaterThan(0)
    expect([run, most, underWay]).toEqual([queries, tasks, 0])
  })

  it('fails of a query that fails', async () => {
    const query = (): Promise<void> => Promise.reject(new Error('relation does not exist'))
    await expect(throughput({ query }, 2, 10)).rejects.toThrow('relation does not exist')
  })
})
