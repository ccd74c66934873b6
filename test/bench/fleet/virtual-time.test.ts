import { createVirtualTime } from '../../../bench/fleet/virtual-time.js'

describe('createVirtualTime', () => {
  it('passes from event to event', async () => {
    const time = createVirtualTime()
    const seen: [string, number][] = []
    time.after(86_400_000, () => seen.push(['a day', time.now()]))
    time.afterPlainly(20, () => seen.push(['plain', time.now()]))
    await time.run(86_400_000)
    expect(seen).toEqual([
      ['plain', 20],
      ['a day', 86_400_000],
    ])
  })

  it('lets promises go on, and what they wait for, before time does', async () => {
    const time = createVirtualTime()
    const seen: number[] = []
    time.follow(async () => {
      await time.pause(10, undefined)
      for (let step = 0; step < 50; step++) await Promise.resolve()
      seen.push(time.now())
      await time.pause(10, undefined)
      seen.push(time.now())
    })
    time.after(11, () => seen.push(time.now()))
    await time.run(100)
    expect(seen).toEqual([10, 11, 20])
  })

  it('ends at the time that it was given, and goes on from there', async () => {
    const time = createVirtualTime()
    const act = jest.fn()
    time.after(101, act)
    await time.run(100)
    expect([time.now(), act.mock.calls.length]).toEqual([100, 0])
    await time.run(101)
    expect(act).toHaveBeenCalledTimes(1)
  })

  it('does not do what was cancelled', async () => {
    const time = createVirtualTime()
    const act = jest.fn()
    time.after(1, act)()
    await time.run(10)
    expect(act).not.toHaveBeenCalled()
  })

  it.each([
    ['before', 0],
    ['during', 5],
  ])('ends a pause whose signal fires %s it', async (_when, firesAt) => {
    const time = createVirtualTime()
    const controller = new AbortController()
    if (firesAt === 0) controller.abort()
    else time.after(firesAt, () => controller.abort())
    let endedAt: number | undefined
    time.follow(async () => {
      await expect(time.pause(100, controller.signal)).rejects.toMatchObject({
        code: 'ERR_ABORTED',
      })
      endedAt = time.now()
    })
    await time.run(50)
    expect(endedAt).toBe(firesAt)
  })

  it('rejects with what an event throws', async () => {
    const time = createVirtualTime()
    time.after(1, () => {
      throw new Error('from an event')
    })
    await expect(time.run(10)).rejects.toThrow('from an event')
  })

  it('rejects with what work that was begun rejects with', async () => {
    const time = createVirtualTime()
    time.follow(async () => {
      await time.pause(1, undefined)
      throw new Error('from work')
    })
    await expect(time.run(10)).rejects.toThrow('from work')
  })
})
