import {
  AURORA_DSQL_LIMITS,
  createConnectionLimiter,
  type ConnectionLimiter,
} from '../../../bench/fleet/connection-limiter.js'

const LIMITS = { ratePerSec: 100, burst: 1_000, maxOpen: 10_000, maxSessionMs: 3_600_000 }

let now = 0
beforeEach(() => {
  now = 0
})

const admitted = (limiter: ConnectionLimiter, asked: number): number => {
  let count = 0
  for (let one = 0; one < asked; one++) if (limiter.admit() === undefined) count++
  return count
}

describe('createConnectionLimiter', () => {
  it('has the limits of Aurora DSQL', () => {
    expect(AURORA_DSQL_LIMITS).toEqual(LIMITS)
  })

  it('admits the burst at once, and refuses the next with 53400', () => {
    const limiter = createConnectionLimiter(LIMITS, () => now)
    expect(admitted(limiter, 1_500)).toBe(1_000)
    expect(limiter.admit()).toBe('53400')
  })

  it('admits at the rate from then on, however often it is asked', () => {
    const limiter = createConnectionLimiter(LIMITS, () => now)
    admitted(limiter, 1_000)
    let count = 0
    for (now = 1; now <= 10_000; now++) count += admitted(limiter, 5)
    expect(count).toBe(1_000)
  })

  it('has the burst again after a quiet time, and no more than that', () => {
    const limiter = createConnectionLimiter(LIMITS, () => now)
    admitted(limiter, 1_000)
    now = 5_000
    expect(admitted(limiter, 1_500)).toBe(500)
    now = 1_000_000
    expect(admitted(limiter, 1_500)).toBe(1_000)
  })

  it('refuses with 53300 what is over the number of open connections, until one is closed', () => {
    const limiter = createConnectionLimiter({ ...LIMITS, maxOpen: 3 }, () => now)
    expect(admitted(limiter, 5)).toBe(3)
    expect(limiter.admit()).toBe('53300')
    limiter.release()
    expect(limiter.admit()).toBeUndefined()
    expect(limiter.admit()).toBe('53300')
  })

  it('takes nothing of the rate for a refusal', () => {
    const limiter = createConnectionLimiter({ ...LIMITS, burst: 2, maxOpen: 1 }, () => now)
    expect([limiter.admit(), limiter.admit()]).toEqual([undefined, '53300'])
    limiter.release()
    expect(limiter.admit()).toBeUndefined()
  })
})
