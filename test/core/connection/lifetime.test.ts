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
import { auroraDsql, cloudSql, customLogin, entra, rds, redshift } from '../../../core/index.js'
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

  it('has no end where the provider ends no session because of its age', () => {
    const host = 'db.example.com'
    const user = 'app'
    const getToken = (): Promise<string> => Promise.resolve('token')
    const logins = [
      rds({ host: 'db.c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com', user }),
      redshift({ host: 'shop.c1a2b3c4d5e6.eu-west-1.redshift.amazonaws.com' }),
      entra({ host: 'shop.postgres.database.azure.com', user }),
      cloudSql({ host: '10.0.0.5', instance: 'shop:europe-west1:db', user }),
      customLogin({ host, user, getToken }),
    ]
    for (const login of logins) {
      expect(login).not.toHaveProperty('maxLifetimeSecs')
      expect(drawLifetimeSecs(login)).toBe(Infinity)
    }
    expect(customLogin({ host, user, getToken, maxLifetimeSecs: 60 }).maxLifetimeSecs).toBe(60)
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
