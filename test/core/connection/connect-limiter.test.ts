import {
  type ConnectLimiter,
  createConnectLimiter,
} from '../../../core/connection/connect-limiter.js'
import { rejectionOf } from '../support/caught.js'

const never = new AbortController().signal

interface Paced {
  pacer: ConnectLimiter
  now: () => number
  pass: (ms: number) => void
}

/** A limiter whose clock is advanced by its own pauses, all of maximum length. */
function paced(connectRate?: number): Paced {
  let now = 1_000_000
  const pacer = createConnectLimiter(connectRate, {
    now: () => now,
    sleep: async (ms) => {
      now += ms
    },
    random: () => 1,
  })
  return { pacer, now: () => now, pass: (ms) => (now += ms) }
}

/** When each of `count` connections, which open one after another, may start, relative to the first. */
async function beginnings({ pacer, now }: Paced, count: number): Promise<number[]> {
  const start = now()
  const times: number[] = []
  for (let connection = 0; connection < count; connection++) {
    const report = await pacer.acquire(never)
    times.push(Math.round(now() - start))
    report('opened')
  }
  return times
}

describe('createConnectLimiter', () => {
  it('allows everything immediately while nothing fails', async () => {
    expect(await beginnings(paced(), 100)).toEqual(Array.from({ length: 100 }, () => 0))
  })

  it('keeps to its rate, after a burst of one second', async () => {
    const limited = paced(4)
    expect(await beginnings(limited, 8)).toEqual([0, 0, 0, 0, 250, 500, 750, 1_000])
    limited.pass(60_000)
    expect(await beginnings(limited, 5)).toEqual([0, 0, 0, 0, 250])
    expect(await beginnings(paced(0.5), 3)).toEqual([0, 2_000, 4_000])
  })

  it('does not count a connection that never reached the server', async () => {
    const limited = paced(1)
    ;(await limited.pacer.acquire(never))('abandoned')
    expect(await beginnings(limited, 2)).toEqual([0, 1_000])
  })

  it('pauses after failures, up to two seconds, twice as long each time, and not after a success', async () => {
    const { pacer, now } = paced()
    const waits: number[] = []
    for (let attempt = 0; attempt < 8; attempt++) {
      const before = now()
      const report = await pacer.acquire(never)
      waits.push(now() - before)
      report('failed')
    }
    expect(waits).toEqual([0, 50, 100, 200, 400, 800, 1_600, 2_000])
    ;(await pacer.acquire(never))('opened')
    expect(await beginnings({ pacer, now, pass: () => {} }, 2)).toEqual([0, 0])
  })

  it('counts concurrent failures as one', async () => {
    const { pacer, now, pass } = paced()
    const reports = await Promise.all(Array.from({ length: 50 }, () => pacer.acquire(never)))
    pass(10)
    for (const report of reports) report('failed')
    const before = now()
    await pacer.acquire(never)
    expect(now() - before).toBe(50)
  })

  it('allows one connection at a time after a refusal, each after the result of the previous one', async () => {
    const { pacer } = paced()
    ;(await pacer.acquire(never))('refused')
    const first = await pacer.acquire(never)
    let isSecond = false
    const second = pacer.acquire(never).then((report) => {
      isSecond = true
      return report
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(isSecond).toBe(false)
    first('opened')
    ;(await second)('opened')
  })

  it('frees the slot of an aborted caller', async () => {
    const { pacer } = paced()
    ;(await pacer.acquire(never))('refused')
    const first = await pacer.acquire(never)
    const controller = new AbortController()
    const impatient = rejectionOf(pacer.acquire(controller.signal))
    controller.abort()
    expect(await impatient).toMatchObject({ code: 'ERR_ABORTED' })
    first('opened')
    ;(await pacer.acquire(never))('opened')
  })

  it('pauses after connections that ended without a reply, with increasing pauses, even though each of them opened', async () => {
    const { pacer, now } = paced()
    const waits: number[] = []
    for (let attempt = 0; attempt < 8; attempt++) {
      const before = now()
      const report = await pacer.acquire(never)
      waits.push(now() - before)
      report('opened')
      pacer.opened().dropped()
    }
    expect(waits).toEqual([0, 50, 100, 200, 400, 800, 1_600, 2_000])
    pacer.opened().served()
    expect(await beginnings({ pacer, now, pass: () => {} }, 3)).toEqual([0, 0, 0])
  })

  it('counts connections that end together as one event, and ignores a reply on an older one', async () => {
    const { pacer, now, pass } = paced()
    const opened = Array.from({ length: 20 }, () => pacer.opened())
    pass(10)
    for (const connection of opened) connection.dropped()
    opened[0]!.served()
    expect(await beginnings({ pacer, now, pass }, 2)).toEqual([50, 50])
  })
})
