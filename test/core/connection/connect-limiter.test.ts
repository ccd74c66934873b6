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

/** A pacer whose clock its own pauses move, with the highest pauses that chance can draw. */
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

/** When each of `count` connections that open one after the other may begin, from the first on. */
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
  it('lets everything through at once while nothing fails', async () => {
    expect(await beginnings(paced(), 100)).toEqual(Array.from({ length: 100 }, () => 0))
  })

  it('keeps to its rate, after a burst of one second', async () => {
    const limited = paced(4)
    expect(await beginnings(limited, 8)).toEqual([0, 0, 0, 0, 250, 500, 750, 1_000])
    limited.pass(60_000)
    expect(await beginnings(limited, 5)).toEqual([0, 0, 0, 0, 250])
    expect(await beginnings(paced(0.5), 3)).toEqual([0, 2_000, 4_000])
  })

  it('does not count against the rate a connection that never reached the server', async () => {
    const limited = paced(1)
    ;(await limited.pacer.acquire(never))('abandoned')
    expect(await beginnings(limited, 2)).toEqual([0, 1_000])
  })

  it('waits after failures, twice as long each time, up to two seconds, and no more after one that opened', async () => {
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

  it('takes connections that were dialled together and fail together for one failure', async () => {
    const { pacer, now, pass } = paced()
    const reports = await Promise.all(Array.from({ length: 50 }, () => pacer.acquire(never)))
    pass(10)
    for (const report of reports) report('failed')
    const before = now()
    await pacer.acquire(never)
    expect(now() - before).toBe(50)
  })

  it('lets connections through one by one after a refusal, each when the one before it is known', async () => {
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

  it('gives up a place for one that will not come', async () => {
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

  it('waits after connections that ended without an answer, longer each time, although each of them opened', async () => {
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

  it('takes connections that are ended together for one event, and an answer of an older one for none', async () => {
    const { pacer, now, pass } = paced()
    const opened = Array.from({ length: 20 }, () => pacer.opened())
    pass(10)
    for (const connection of opened) connection.dropped()
    opened[0]!.served()
    expect(await beginnings({ pacer, now, pass }, 2)).toEqual([50, 50])
  })
})
