import { getEventListeners } from 'node:events'
import { withinTime } from '../../../core/connection/within-time.js'
import { rejectionOf } from '../support/caught.js'

const LIMIT = { what: 'could not connect', timeoutMs: 1_000 }

/** Work that ends when it is told to, with the reason. */
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

describe('withinTime', () => {
  it('stops the work when the time is up, and says so', async () => {
    const { signal } = new AbortController()
    const clock = stoppedClock()
    const failing = rejectionOf(withinTime({ ...LIMIT, signal, after: clock.after }, untilAborted))
    clock.timeIsUp()
    expect(await failing).toMatchObject({
      code: 'ERR_CONNECT_TIMEOUT',
      message: 'could not connect within 1000 ms',
      cause: { name: 'AbortError' },
    })
    expect(signal.aborted).toBe(false)
  })

  it('stops the work when the caller gives up, before or after it began, with the reason of that', async () => {
    const caller = new AbortController()
    const reason = new Error('closing')
    const limit = { ...LIMIT, signal: caller.signal, after: stoppedClock().after }
    const failing = rejectionOf(withinTime(limit, untilAborted))
    caller.abort(reason)
    expect(await failing).toBe(reason)
    expect(await rejectionOf(withinTime(limit, untilAborted))).toBe(reason)
  })

  it.each([
    ['done', () => Promise.resolve('done')],
    ['failed', () => Promise.reject(new Error('failed'))],
  ])('leaves no timer and no listener behind work that has %s', async (_label, work) => {
    const { signal } = new AbortController()
    const clock = stoppedClock()
    await withinTime<unknown>({ ...LIMIT, signal, after: clock.after }, work).catch(() => {})
    expect(clock.isWaiting()).toBe(false)
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('does not call the failure of the work itself a timeout', async () => {
    const { signal } = new AbortController()
    const failure = new Error('refused')
    const limit = { ...LIMIT, signal, after: stoppedClock().after }
    expect(await rejectionOf(withinTime(limit, () => Promise.reject(failure)))).toBe(failure)
  })
})
