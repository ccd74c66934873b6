import { createConnectionLimiter } from '../../../gateway/faults/connection-limiter.js'

/** A limiter by a clock that the test sets. */
function limiter(limits: Parameters<typeof createConnectionLimiter>[0]): {
  admitted: (openSessions?: number) => string
  pass: (ms: number) => void
} {
  let time = 1_000
  const { admit } = createConnectionLimiter(limits, () => time)
  return {
    admitted: (openSessions = 0) => admit(openSessions)?.sqlState ?? 'in',
    pass: (ms) => void (time += ms),
  }
}

describe('createConnectionLimiter', () => {
  it('lets as many sessions be open as there may be', () => {
    const { admitted } = limiter({ max: 2 })
    expect([0, 1, 2, 3].map((open) => admitted(open))).toEqual(['in', 'in', '53300', '53300'])
  })

  it('lets a burst in, and then one at a time at the rate', () => {
    const { admitted, pass } = limiter({ perSecond: 10, burst: 3 })
    expect([1, 2, 3, 4].map(() => admitted())).toEqual(['in', 'in', 'in', '53400'])
    pass(99)
    expect(admitted()).toBe('53400')
    pass(1)
    expect([1, 2].map(() => admitted())).toEqual(['in', '53400'])
    // A quiet time earns no more than the burst.
    pass(60_000)
    expect([1, 2, 3, 4].map(() => admitted())).toEqual(['in', 'in', 'in', '53400'])
  })

  it('has a burst of one second where none is given', () => {
    const { admitted } = limiter({ perSecond: 2 })
    expect([1, 2, 3].map(() => admitted())).toEqual(['in', 'in', '53400'])
  })

  it('does not count one that is refused for the open sessions against the rate', () => {
    const { admitted } = limiter({ max: 1, perSecond: 1, burst: 1 })
    expect(admitted(1)).toBe('53300')
    expect(admitted(0)).toBe('in')
  })
})
