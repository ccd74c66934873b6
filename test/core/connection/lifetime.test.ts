import { once } from 'node:events'
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
import { OPTIONS } from '../support/dsql-options.js'

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
