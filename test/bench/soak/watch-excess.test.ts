import { watchExcess } from '../../../bench/soak/child/watch-excess.js'

describe('watchExcess', () => {
  beforeEach(() => void jest.useFakeTimers())
  afterEach(() => void jest.useRealTimers())

  it('tells of connections that stay open beyond the size of the pool', () => {
    let open = 3
    const excess = watchExcess(() => open, 3)
    jest.advanceTimersByTime(10_000)
    open = 4
    jest.advanceTimersByTime(3_000)
    open = 3
    jest.advanceTimersByTime(10_000)
    expect(excess.stop()).toEqual(['more than 3 connections were open for 3 s'])
    expect(jest.getTimerCount()).toBe(0)
  })

  it('lets the old connection overlap with the new one', () => {
    let open = 4
    const excess = watchExcess(() => open, 3)
    for (let second = 0; second < 10; second++) {
      jest.advanceTimersByTime(1_000)
      open = 3
      jest.advanceTimersByTime(500)
      open = 4
    }
    expect(excess.stop()).toEqual([])
  })
})
