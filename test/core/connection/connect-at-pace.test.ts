import { createSeededRandom } from '../../support/seeded-random.js'
import { createVirtualTime, type VirtualTime } from '../../../bench/fleet/virtual-time.js'
import {
  type ConnectAttempt,
  connectWithBackoff,
  type ConnectLimiter,
  createConnectLimiter,
} from '../../../core/connection/connect-limiter.js'
import { PgIamError } from '../../../core/errors.js'

let time: VirtualTime
let pacer: ConnectLimiter
let attempts: number[]
let caller: AbortController
beforeEach(() => {
  time = createVirtualTime()
  pacer = pacerOf()
  attempts = []
  caller = new AbortController()
})

const pacerOf = (connectRate?: number): ConnectLimiter =>
  createConnectLimiter(connectRate, {
    now: time.now,
    sleep: time.pause,
    random: createSeededRandom(1),
  })

/** A login that takes 50 ms and has the result that `answer` returns. */
const login =
  (answer: () => string | undefined | Error) =>
  async (signal: AbortSignal): Promise<ConnectAttempt> => {
    attempts.push(time.now())
    await time.pause(50, signal)
    const refusedWith = answer()
    if (refusedWith instanceof Error) throw refusedWith
    return { socket: { destroy: () => undefined }, ...(refusedWith && { refusedWith }) }
  }

const open = (answer: () => string | undefined | Error): Promise<ConnectAttempt> =>
  connectWithBackoff(
    {
      what: 'could not connect',
      timeoutMs: 30_000,
      signal: caller.signal,
      after: time.after,
      limiter: pacer,
    },
    login(answer),
  )

interface Ended {
  at: number
  attempted?: ConnectAttempt
  error?: unknown
}

/** The outcome of the call, after time has passed. */
const run = async (...calls: Promise<ConnectAttempt>[]): Promise<Ended[]> => {
  const ended = calls.map(async (call): Promise<Ended> => {
    try {
      const attempted = await call
      return { at: time.now(), attempted }
    } catch (error) {
      return { at: time.now(), error }
    }
  })
  await time.run(120_000)
  return Promise.all(ended)
}

describe('connectWithBackoff', () => {
  it.each(['53300', '53400'])(
    'retries after %s, until the server has a free connection',
    async (code) => {
      const [ended] = await run(open(() => (attempts.length < 5 ? code : undefined)))
      expect(ended?.attempted).not.toHaveProperty('refusedWith')
      expect(attempts).toHaveLength(5)
    },
  )

  it.each(['28000', '57P03', '53200'])('does not retry after %s', async (code) => {
    const [ended] = await run(open(() => code))
    expect(ended?.attempted).toMatchObject({ refusedWith: code })
    expect(attempts).toHaveLength(1)
  })

  it('returns the last refusal when the time is up', async () => {
    const [ended] = await run(open(() => '53400'))
    expect(ended).toMatchObject({ at: 30_000, attempted: { refusedWith: '53400' } })
  })

  it('reports the wait for a slot when the time is up before the first attempt', async () => {
    pacer = pacerOf(0.01)
    const [first, second] = await run(
      open(() => undefined),
      open(() => undefined),
    )
    expect(first?.at).toBe(50)
    expect(second).toMatchObject({
      at: 30_000,
      error: {
        code: 'ERR_CONNECT_TIMEOUT',
        cause: { message: expect.stringContaining('waiting for a connection slot') },
      },
    })
  })

  it('stops when the caller aborts, and rejects', async () => {
    time.after(5_000, () => caller.abort())
    const [ended] = await run(open(() => '53400'))
    expect(ended).toMatchObject({ at: 5_000, error: { code: 'ERR_ABORTED' } })
    expect(Math.max(...attempts)).toBeLessThanOrEqual(5_000)
  })

  it('tries one connection at a time, with increasing pauses, while the server refuses', async () => {
    await run(...Array.from({ length: 10 }, () => open(() => '53400')))
    const later = attempts.filter((at) => at > 50)
    for (const [index, at] of later.entries())
      if (index > 0) expect(at - (later[index - 1] as number)).toBeGreaterThanOrEqual(50)
    expect(later.length).toBeLessThan(20)
    expect(later.filter((at) => at > 20_000).length).toBeLessThan(5)
  })

  it('starts the next attempt immediately when one has succeeded', async () => {
    const calls = await run(
      ...Array.from({ length: 10 }, () => open(() => (time.now() < 2_000 ? '53400' : undefined))),
    )
    const openedAt = calls.map(({ at }) => at).toSorted((one, other) => one - other)
    const [first, second, third] = openedAt as [number, number, number]
    expect([second - first, third - second]).toEqual([50, 50])
    expect((openedAt.at(-1) as number) - first).toBeLessThanOrEqual(9 * 50)
  })

  it('is not delayed by an attempt that never reached the server', async () => {
    const calls = Array.from({ length: 3 }, () =>
      open(() => new PgIamError('ERR_TOKEN_INVALID', 'no token')),
    )
    for (const { at, error } of await run(...calls)) {
      expect(at).toBe(50)
      expect(error).toMatchObject({ code: 'ERR_TOKEN_INVALID' })
    }
  })

  it('returns an unused slot to the rate limit', async () => {
    pacer = pacerOf(0.1)
    const [, second] = await run(
      open(() => new PgIamError('ERR_TOKEN_INVALID', 'no token')),
      time.pause(100, undefined).then(() => open(() => undefined)),
    )
    expect(second?.at).toBe(150)
  })
})
