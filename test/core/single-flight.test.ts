import { singleFlight } from '../../core/single-flight.js'

/** Work that ends when the test says so. */
function deferredWork(): { work: () => Promise<number>; calls: PromiseWithResolvers[] } {
  const calls: PromiseWithResolvers[] = []
  const work = (): Promise<number> =>
    new Promise((resolve, reject) => {
      calls.push({ resolve, reject })
    })
  return { work, calls }
}

interface PromiseWithResolvers {
  resolve: (value: number) => void
  reject: (error: unknown) => void
}

describe('singleFlight', () => {
  it('lets calls share the one that is under way', async () => {
    const { work, calls } = deferredWork()
    const fly = singleFlight(work)
    const flights = [fly(), fly(), fly()]
    calls[0]?.resolve(1)
    await expect(Promise.all(flights)).resolves.toEqual([1, 1, 1])
    expect(calls).toHaveLength(1)
  })

  it('starts anew after it has settled', async () => {
    const { work, calls } = deferredWork()
    const fly = singleFlight(work)
    for (const round of [1, 2, 3]) {
      const flight = fly()
      calls[round - 1]?.resolve(round)
      await expect(flight).resolves.toBe(round)
    }
    expect(calls).toHaveLength(3)
  })

  it('does not remember a failure', async () => {
    const { work, calls } = deferredWork()
    const fly = singleFlight(work)
    const failing = [fly(), fly()]
    const failure = new Error('x')
    calls[0]?.reject(failure)
    for (const flight of failing) await expect(flight).rejects.toBe(failure)
    const next = fly()
    calls[1]?.resolve(2)
    await expect(next).resolves.toBe(2)
  })

  it('starts anew from within a handler of the one before', async () => {
    const { work, calls } = deferredWork()
    const fly = singleFlight(work)
    const chained = fly().then(() => fly())
    calls[0]?.resolve(1)
    while (calls.length < 2) await Promise.resolve()
    calls[1]?.resolve(2)
    await expect(chained).resolves.toBe(2)
  })

  it('does not keep work that throws at once', async () => {
    let calls = 0
    const fly = singleFlight(() => {
      if (++calls === 1) throw new Error('at once')
      return Promise.resolve(calls)
    })
    expect(() => fly()).toThrow('at once')
    await expect(fly()).resolves.toBe(2)
  })
})
