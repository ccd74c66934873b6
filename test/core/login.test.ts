import { auroraDsql, type AwsCredentials, type Login } from '../../core/index.js'
import { loginCheck } from '../../core/login.js'
import { rejectionOf, thrownBy } from './support/caught.js'
import { collectEvents } from './support/collect-events.js'
import { CREDENTIALS, HOST, OPTIONS } from './support/dsql-options.js'

describe('loginCheck', () => {
  it('accepts a login, and an object derived from one', () => {
    const made = auroraDsql(OPTIONS)
    const copy = { ...made }
    expect(loginCheck(made, 'read')).toBe(made)
    expect(loginCheck(copy, 'read')).toBe(copy)
  })

  it.each<[unknown, string]>([
    ['db.example.com', 'got "db.example.com"'],
    [undefined, 'got undefined'],
    [{ host: 'db.example.com' }, 'got an object'],
    [{ host: 'db.example.com', tls: {} }, 'got an object'],
    [{ token: () => undefined }, 'got an object'],
    [auroraDsql, 'got a function'],
  ])('rejects %p', (value, got) => {
    expect(thrownBy(() => loginCheck(value, 'read'))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: `"read" must be a login, such as rds() returns, or the URL of one, ${got}`,
    })
  })
})

describe('a login', () => {
  it('is deeply frozen, and is JSON except for its functions', () => {
    const login = auroraDsql({ ...OPTIONS, connectTo: { host: 'tunnel', port: 1 } })
    for (const part of [login, login.tls, login.connectTo]) expect(Object.isFrozen(part)).toBe(true)
    expect(JSON.parse(JSON.stringify(login))).toMatchObject({
      provider: 'aurora-dsql',
      host: HOST,
      connectTo: { host: 'tunnel', port: 1 },
      tls: { rejectUnauthorized: true, servername: HOST },
    })
  })

  it('has no property for an option that was not given', () => {
    const login = auroraDsql(OPTIONS)
    expect('connectTo' in login).toBe(false)
    expect('retry' in login).toBe(false)
    expect('ca' in login.tls).toBe(false)
  })

  it('does not reflect changes of the options that it was created from', () => {
    const options = { ...OPTIONS, connectTo: { host: 'tunnel', port: 1 }, tls: { servername: 'a' } }
    const login = auroraDsql(options)
    options.connectTo.host = 'elsewhere'
    options.tls.servername = 'b'
    expect([login.connectTo?.host, login.tls.servername]).toEqual(['tunnel', 'a'])
  })

  it('has functions that work without their object', async () => {
    const { token, password, stats } = auroraDsql(OPTIONS)
    expect((await token()).value).toContain(HOST)
    expect(await password()).toContain(HOST)
    expect(stats().tokensMade).toBe(2)
  })

  it('has its own counters, which cannot be changed from outside', async () => {
    const login = auroraDsql(OPTIONS)
    const other = auroraDsql(OPTIONS)
    await login.token()
    const stats = login.stats() as { tokensMade: number }
    stats.tokensMade = 99
    expect(login.stats().tokensMade).toBe(1)
    expect(other.stats().tokensMade).toBe(0)
  })

  it('rejects password() with the same error as token()', async () => {
    const cause = new Error('vault is sealed')
    const login = auroraDsql({ ...OPTIONS, credentials: () => Promise.reject(cause) })
    for (const error of [await rejectionOf(login.password()), await rejectionOf(login.token())]) {
      expect(error).toMatchObject({ code: 'ERR_CREDENTIALS_UNAVAILABLE', cause })
    }
    expect(login.stats()).toMatchObject({ tokensMade: 0, tokensFailed: 2 })
  })
})

describe('50 concurrent connections', () => {
  function fifty(login: Login): Promise<string[]> {
    return Promise.all(Array.from({ length: 50 }, () => login.password()))
  }

  it('make one call for credentials, and create 50 tokens', async () => {
    let calls = 0
    const credentials = async (): Promise<AwsCredentials> => {
      calls++
      return CREDENTIALS
    }
    const login = auroraDsql({ ...OPTIONS, credentials })
    await fifty(login)
    expect(calls).toBe(1)
    expect(login.stats()).toMatchObject({ credentialCalls: 1, tokensMade: 50, tokensReused: 0 })
  })

  it('create one token if it may be shared', async () => {
    const collected = collectEvents()
    const login = auroraDsql({ ...OPTIONS, reuseTokenSecs: 60 })
    expect(new Set(await fifty(login)).size).toBe(1)
    expect(new Set(await fifty(login)).size).toBe(1)
    collected.stop()
    expect(login.stats()).toMatchObject({ credentialCalls: 1, tokensMade: 1, tokensReused: 99 })
    const made = collected.names().filter((name) => name === 'token.made')
    expect([made.length, collected.names().length]).toEqual([1, 100])
  })

  it('fail together, after one call, and the next one succeeds', async () => {
    let calls = 0
    const credentials = async (): Promise<AwsCredentials> => {
      if (++calls === 1) throw new Error('x')
      return CREDENTIALS
    }
    const login = auroraDsql({ ...OPTIONS, credentials })
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => login.token()))
    expect(results.every(({ status }) => status === 'rejected')).toBe(true)
    expect(calls).toBe(1)
    await login.token()
    expect(calls).toBe(2)
  })
})

describe('the reuse of a token', () => {
  afterEach(() => jest.useRealTimers())

  it('ends after reuseTokenSecs, or when a tenth of the lifetime is left', async () => {
    const start = Date.parse('2026-03-04T05:06:07Z')
    jest.useFakeTimers({
      now: start,
      doNotFake: [
        'nextTick',
        'setImmediate',
        'setTimeout',
        'clearTimeout',
        'performance',
        'hrtime',
      ],
    })
    const login = auroraDsql({ ...OPTIONS, reuseTokenSecs: 60, tokenDurationSecs: 100 })
    const madeAfter = async (seconds: number): Promise<number> => {
      jest.setSystemTime(start + seconds * 1000)
      await login.token()
      return login.stats().tokensMade
    }
    expect([
      await madeAfter(0),
      await madeAfter(59),
      await madeAfter(60),
      await madeAfter(119),
    ]).toEqual([1, 1, 2, 2])
    const brief = auroraDsql({ ...OPTIONS, reuseTokenSecs: 60, tokenDurationSecs: 10 })
    jest.setSystemTime(start)
    await brief.token()
    jest.setSystemTime(start + 8_999)
    await brief.token()
    expect(brief.stats().tokensMade).toBe(1)
    jest.setSystemTime(start + 9_000)
    await brief.token()
    expect(brief.stats().tokensMade).toBe(2)
  })
})
