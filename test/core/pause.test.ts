import { getEventListeners } from 'node:events'
import { fullJitter } from '../../core/full-jitter.js'
import { pause } from '../../core/pause.js'
import { withinTimeout } from '../../core/within-timeout.js'
import { rejectionOf } from './support/caught.js'

beforeEach(() => jest.useFakeTimers())
afterEach(() => jest.useRealTimers())

describe('pause', () => {
  it('ends after its time, and listens to the signal no longer', async () => {
    const { signal } = new AbortController()
    let isOver = false
    const waiting = pause(100, signal).then(() => (isOver = true))
    await jest.advanceTimersByTimeAsync(99)
    expect(isOver).toBe(false)
    await jest.advanceTimersByTimeAsync(1)
    await waiting
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('ends when the signal fires, before or while it waits, and leaves no timer', async () => {
    const controller = new AbortController()
    const waiting = rejectionOf(pause(100, controller.signal))
    controller.abort('why')
    for (const error of [await waiting, await rejectionOf(pause(100, controller.signal))]) {
      expect(error).toMatchObject({ code: 'ERR_ABORTED', cause: 'why' })
    }
    expect(jest.getTimerCount()).toBe(0)
  })
})

describe('withinTimeout', () => {
  it('settles as the work does, and leaves no timer', async () => {
    const failure = new Error('x')
    await expect(withinTimeout(Promise.resolve(1), 100, () => new Error('late'))).resolves.toBe(1)
    expect(
      await rejectionOf(withinTimeout(Promise.reject(failure), 100, () => new Error('late'))),
    ).toBe(failure)
    expect(jest.getTimerCount()).toBe(0)
  })

  it('rejects in time with the error that it is given', async () => {
    const waiting = rejectionOf(withinTimeout(new Promise(() => {}), 100, () => new Error('late')))
    await jest.advanceTimersByTimeAsync(100)
    expect(await waiting).toEqual(new Error('late'))
  })
})

describe('fullJitter', () => {
  it('is between nothing and a limit that doubles up to the longest', () => {
    const highest = (attempt: number): number => fullJitter(attempt, 100, 1_000, () => 1)
    expect([1, 2, 3, 4, 5, 6, 2_000].map(highest)).toEqual([
      100, 200, 400, 800, 1_000, 1_000, 1_000,
    ])
    expect(fullJitter(5, 100, 1_000, () => 0)).toBe(0)
    expect(fullJitter(1, 100, 1_000, () => 0.25)).toBe(25)
  })
})
