import { getEventListeners } from 'node:events'
import * as fc from 'fast-check'
import {
  abortable,
  createMutex,
  createQueue,
  fullJitter,
  singleFlight,
  sleep,
  withConnectTimeout,
  withTimeout,
} from '../../core/async.js'
import { rejectionOf } from './support/caught.js'

describe('sleep', () => {
  it('resolves after its time, and removes its listener from the signal', async () => {
    const { signal } = new AbortController()
    await sleep(1, signal)
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('rejects with ERR_ABORTED when the signal aborts, before or during the sleep', async () => {
    const controller = new AbortController()
    const sleeping = rejectionOf(sleep(600_000, controller.signal))
    controller.abort('why')
    for (const error of [await sleeping, await rejectionOf(sleep(600_000, controller.signal))])
      expect(error).toMatchObject({ code: 'ERR_ABORTED', cause: 'why' })
  })
})

describe('withTimeout', () => {
  beforeEach(() => jest.useFakeTimers())
  afterEach(() => jest.useRealTimers())

  it('settles as the work does, and leaves no timer', async () => {
    const failure = new Error('x')
    await expect(withTimeout(Promise.resolve(1), 100, () => new Error('late'))).resolves.toBe(1)
    expect(
      await rejectionOf(withTimeout(Promise.reject(failure), 100, () => new Error('late'))),
    ).toBe(failure)
    expect(jest.getTimerCount()).toBe(0)
  })

  it('rejects in time with the given error', async () => {
    const waiting = rejectionOf(withTimeout(new Promise(() => {}), 100, () => new Error('late')))
    await jest.advanceTimersByTimeAsync(100)
    expect(await waiting).toEqual(new Error('late'))
  })
})

describe('fullJitter', () => {
  it('is between 0 and a limit that doubles up to the maximum', () => {
    const highest = (attempt: number): number => fullJitter(attempt, 100, 1_000, () => 1)
    expect([1, 2, 3, 4, 5, 6, 2_000].map(highest)).toEqual([
      100, 200, 400, 800, 1_000, 1_000, 1_000,
    ])
    expect(fullJitter(5, 100, 1_000, () => 0)).toBe(0)
    expect(fullJitter(1, 100, 1_000, () => 0.25)).toBe(25)
  })
})

describe('abortable', () => {
  it('settles as the work does, and removes its listener from the signal', async () => {
    const { signal } = new AbortController()
    await expect(abortable(Promise.resolve(1), signal)).resolves.toBe(1)
    const failure = new Error('x')
    expect(await rejectionOf(abortable(Promise.reject(failure), signal))).toBe(failure)
    await new Promise((resolve) => setImmediate(resolve))
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('rejects with the reason of the signal, whether it aborts before or during the work', async () => {
    const reason = new Error('enough')
    const controller = new AbortController()
    const waiting = rejectionOf(abortable(new Promise(() => {}), controller.signal))
    controller.abort(reason)
    expect(await waiting).toBe(reason)
    expect(await rejectionOf(abortable(new Promise(() => {}), controller.signal))).toBe(reason)
  })

  it('ignores a failure of the work after the signal aborted', async () => {
    const controller = new AbortController()
    let fail: ((error: Error) => void) | undefined
    const waiting = rejectionOf(
      abortable(new Promise((_, reject) => (fail = reject)), controller.signal),
    )
    controller.abort()
    fail?.(new Error('too late'))
    expect(await waiting).toMatchObject({ name: 'AbortError' })
    await new Promise((resolve) => setImmediate(resolve))
  })
})

const LIMIT = { what: 'could not connect', timeoutMs: 1_000 }

/** Work that rejects with the signal's reason when it aborts. */
const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const stop = (): void => reject(signal.reason as Error)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop)
  })

/** A clock that stands still until `timeIsUp` is called. */
function stoppedClock() {
  let act: (() => void) | undefined
  return {
    after: (_ms: number, then: () => void) => {
      act = then
      return () => void (act = undefined)
    },
    timeIsUp: () => act?.(),
    isWaiting: () => act !== undefined,
  }
}

describe('withConnectTimeout', () => {
  it('aborts the work at the timeout, and rejects with ERR_CONNECT_TIMEOUT', async () => {
    const { signal } = new AbortController()
    const clock = stoppedClock()
    const failing = rejectionOf(
      withConnectTimeout({ ...LIMIT, signal, after: clock.after }, untilAborted),
    )
    clock.timeIsUp()
    expect(await failing).toMatchObject({
      code: 'ERR_CONNECT_TIMEOUT',
      message: 'could not connect within 1000 ms',
      cause: { name: 'AbortError' },
    })
    expect(signal.aborted).toBe(false)
  })

  it("aborts the work with the caller's reason, before or after it has started", async () => {
    const caller = new AbortController()
    const reason = new Error('closing')
    const limit = { ...LIMIT, signal: caller.signal, after: stoppedClock().after }
    const failing = rejectionOf(withConnectTimeout(limit, untilAborted))
    caller.abort(reason)
    expect(await failing).toBe(reason)
    expect(await rejectionOf(withConnectTimeout(limit, untilAborted))).toBe(reason)
  })

  it.each([
    ['done', () => Promise.resolve('done')],
    ['failed', () => Promise.reject(new Error('failed'))],
  ])('leaves no timer and no listener after work that has %s', async (_label, work) => {
    const { signal } = new AbortController()
    const clock = stoppedClock()
    await withConnectTimeout<unknown>({ ...LIMIT, signal, after: clock.after }, work).catch(
      () => {},
    )
    expect(clock.isWaiting()).toBe(false)
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('does not report a failure of the work as a timeout', async () => {
    const { signal } = new AbortController()
    const failure = new Error('refused')
    const limit = { ...LIMIT, signal, after: stoppedClock().after }
    expect(await rejectionOf(withConnectTimeout(limit, () => Promise.reject(failure)))).toBe(
      failure,
    )
  })
})

/** Work that ends when the test ends it. */
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
  it('shares the call in progress', async () => {
    const { work, calls } = deferredWork()
    const fly = singleFlight(work)
    const flights = [fly(), fly(), fly()]
    calls[0]?.resolve(1)
    await expect(Promise.all(flights)).resolves.toEqual([1, 1, 1])
    expect(calls).toHaveLength(1)
  })

  it('starts a new call after the previous one has settled', async () => {
    const { work, calls } = deferredWork()
    const fly = singleFlight(work)
    for (const round of [1, 2, 3]) {
      const flight = fly()
      calls[round - 1]?.resolve(round)
      await expect(flight).resolves.toBe(round)
    }
    expect(calls).toHaveLength(3)
  })

  it('does not cache a failure', async () => {
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

  it('starts a new call in a handler of the previous one', async () => {
    const { work, calls } = deferredWork()
    const fly = singleFlight(work)
    const chained = fly().then(() => fly())
    calls[0]?.resolve(1)
    while (calls.length < 2) await Promise.resolve()
    calls[1]?.resolve(2)
    await expect(chained).resolves.toBe(2)
  })

  it('does not cache work that throws synchronously', async () => {
    let calls = 0
    const fly = singleFlight(() => {
      if (++calls === 1) throw new Error('at once')
      return Promise.resolve(calls)
    })
    expect(() => fly()).toThrow('at once')
    await expect(fly()).resolves.toBe(2)
  })
})

describe('createQueue', () => {
  it('returns items in order, and then undefined', () => {
    const line = createQueue<string>()
    expect(line.dequeue()).toBeUndefined()
    line.enqueue('a')
    line.enqueue('b')
    expect([line.dequeue(), line.dequeue(), line.dequeue()]).toEqual(['a', 'b', undefined])
    line.enqueue('c')
    expect(line.dequeue()).toBe('c')
  })

  it('behaves like a list for any sequence of operations, including repeated and late removals', () => {
    const step = fc.oneof(
      fc.constant('join' as const),
      fc.constant('next' as const),
      fc.record({ leaves: fc.nat(30) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const line = createQueue<number>()
        const leave: (() => void)[] = []
        let list: number[] = []
        for (const one of steps) {
          if (one === 'join') {
            list.push(leave.length)
            leave.push(line.enqueue(leave.length))
          } else if (one === 'next') {
            expect(line.dequeue()).toBe(list.shift())
          } else if (leave.length > 0) {
            const who = one.leaves % leave.length
            leave[who]!()
            list = list.filter((other) => other !== who)
          }
        }
        expect(list.map(() => line.dequeue())).toEqual(list)
        expect(line.dequeue()).toBeUndefined()
      }),
    )
  })
})

const never = new AbortController().signal

describe('createMutex', () => {
  it('admits callers one at a time, in order', async () => {
    const turns = createMutex()
    const order: string[] = []
    const work = async (name: string): Promise<void> => {
      const end = await turns.acquire(never)
      order.push(`${name} begins`)
      await new Promise((resolve) => setImmediate(resolve))
      order.push(`${name} ends`)
      end()
    }
    await Promise.all(['a', 'b', 'c'].map(work))
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  })

  it('skips aborted callers, and rejects their promises', async () => {
    const turns = createMutex()
    const end = await turns.acquire(never)
    const controller = new AbortController()
    const impatient = rejectionOf(turns.acquire(controller.signal))
    const next = turns.acquire(never)
    controller.abort('why')
    expect(await impatient).toMatchObject({ code: 'ERR_ABORTED', cause: 'why' })
    expect(await rejectionOf(turns.acquire(AbortSignal.abort()))).toMatchObject({
      code: 'ERR_ABORTED',
    })
    end()
    await expect(next).resolves.toBeInstanceOf(Function)
  })

  it('releases once, however often release is called', async () => {
    const turns = createMutex()
    const end = await turns.acquire(never)
    const second = turns.acquire(never)
    const third = turns.acquire(never)
    end()
    end()
    const endOfSecond = await second
    let isThird = false
    void third.then(() => (isThird = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(isThird).toBe(false)
    endOfSecond()
    await third
  })

  it('is free after the last release', async () => {
    const turns = createMutex()
    const end = await turns.acquire(never)
    end()
    await expect(turns.acquire(never)).resolves.toBeInstanceOf(Function)
  })
})
