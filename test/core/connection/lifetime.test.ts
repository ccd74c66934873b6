import { once } from 'node:events'
import { Reception } from '../../../core/connection/reception.js'
import { retireWhenIdle } from '../../../core/connection/idle-retirement.js'
import { drawLifetimeSecs } from '../../../core/connection/lifetime.js'
import { LoginStream } from '../../../core/connection/login-stream.js'
import {
  createStreamFactory,
  isPastLifetime,
  loginOfFactory,
  lossOf,
  markWithLogin,
} from '../../../core/connection/stream-factory.js'
import { auroraDsql } from '../../../core/index.js'
import { READY, message, textRow } from '../support/backend-messages.js'
import { OPTIONS } from '../support/dsql-options.js'

afterEach(() => jest.useRealTimers())

describe('drawLifetimeSecs', () => {
  it('is between four fifths of the lifetime and all of it', () => {
    const login = auroraDsql({ ...OPTIONS, maxLifetimeSecs: 1_000 })
    expect([0, 0.5, 1].map((chance) => drawLifetimeSecs(login, () => chance))).toEqual([
      1_000, 900, 800,
    ])
    expect(new Set(Array.from({ length: 20 }, () => drawLifetimeSecs(login))).size).toBeGreaterThan(
      10,
    )
  })
})

describe('retireWhenIdle', () => {
  const SECOND = 1_000
  const connection = (): Reception =>
    new Reception({ hidesLastWords: false, isUnattended: undefined })

  it('waits for the age, and then for the end of the query and of the transaction', () => {
    jest.useFakeTimers()
    let retired = 0
    const used = connection()
    retireWhenIdle(100 * SECOND, used, () => retired++)
    jest.advanceTimersByTime(99 * SECOND)
    used.sent(Buffer.from('Q'))
    jest.advanceTimersByTime(60 * SECOND)
    expect(retired).toBe(0)
    const row = textRow('x')
    used.received(row.subarray(0, -6))
    jest.advanceTimersByTime(60 * SECOND)
    used.received(Buffer.concat([row.subarray(-6), message('Z', 'T')]))
    jest.advanceTimersByTime(60 * SECOND)
    expect(retired).toBe(0)
    used.received(READY)
    jest.advanceTimersByTime(4_999)
    expect(retired).toBe(0)
    jest.advanceTimersByTime(2 * 5_001)
    expect(retired).toBe(1)
    jest.advanceTimersByTime(1_000 * SECOND)
    expect(retired).toBe(1)
  })

  it('waits as long as something comes or goes', () => {
    jest.useFakeTimers()
    let retired = 0
    const used = connection()
    retireWhenIdle(100 * SECOND, used, () => retired++)
    jest.advanceTimersByTime(99 * SECOND)
    for (let query = 0; query < 5; query++) {
      used.sent(Buffer.from('Q'))
      used.received(READY)
      jest.advanceTimersByTime(4_999)
    }
    expect(retired).toBe(0)
    jest.advanceTimersByTime(10 * SECOND)
    expect(retired).toBe(1)
  })

  it('retires at its age one that was idle all along, and none that was cancelled', () => {
    jest.useFakeTimers()
    let retired = 0
    retireWhenIdle(100 * SECOND, connection(), () => retired++)
    retireWhenIdle(100 * SECOND, connection(), () => (retired += 100)).cancel()
    jest.advanceTimersByTime(100 * SECOND - 1)
    expect(retired).toBe(0)
    jest.advanceTimersByTime(1)
    expect(retired).toBe(1)
    expect(jest.getTimerCount()).toBe(0)
  })
})

describe('createStreamFactory', () => {
  const login = auroraDsql(OPTIONS)

  it('makes a stream for each connection, and is known by its login', () => {
    const factory = createStreamFactory(login)
    const [one, other] = [factory(), factory()]
    expect(one).toBeInstanceOf(LoginStream)
    expect(one).not.toBe(other)
    expect(loginOfFactory(factory)).toBe(login)
    expect(Object.keys(factory)).toEqual([])
  })

  it('knows no login of anything else', () => {
    for (const value of [undefined, null, {}, () => {}, 'x'])
      expect(loginOfFactory(value)).toBeUndefined()
    const mark = markWithLogin(() => 1, login)
    expect([mark(), loginOfFactory(mark)]).toEqual([1, login])
  })

  it('says of clients of any kind whether their stream is past its age, and why it was lost', async () => {
    const stream = createStreamFactory(login)()
    expect([
      isPastLifetime({ connection: { stream } }),
      lossOf({ connection: { stream } }),
    ]).toEqual([false, undefined])
    for (const client of [
      undefined,
      null,
      {},
      { connection: {} },
      { connection: { stream: {} } },
    ]) {
      expect([isPastLifetime(client), lossOf(client)]).toEqual([false, undefined])
    }
    stream.destroy()
    await once(stream, 'close')
  })
})
