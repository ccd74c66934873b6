import {
  customLogin,
  type CustomLoginOptions,
  PgIamError,
  type TokenContext,
} from '../../../core/index.js'
import { createCustomLogin } from '../../../core/providers/custom.js'
import { rejectionOf, thrownBy } from '../support/caught.js'
import { printed } from '../support/printed.js'
import { counted, endingAt, HOST, START } from './counted-login.js'

const SECOND = 1_000

describe('customLogin', () => {
  it('calls getToken only when a token is needed', () => {
    const { login, calls } = counted(() => 'token')
    expect(login).toMatchObject({
      provider: 'custom',
      host: HOST,
      port: 5432,
      database: 'postgres',
      user: 'app',
    })
    expect(calls()).toBe(0)
  })

  it('passes the purpose of the token to getToken', async () => {
    const asked: TokenContext[] = []
    const login = customLogin({
      host: HOST,
      port: 6432,
      database: 'shop',
      user: 'app',
      getToken: (context) => {
        asked.push(context)
        return 'token'
      },
    })
    await login.token()
    expect(asked).toEqual([
      { host: HOST, port: 6432, database: 'shop', user: 'app', signal: expect.any(AbortSignal) },
    ])
    expect(asked[0]?.signal.aborted).toBe(false)
  })

  it.each<[string, () => unknown]>([
    ['a string', () => 'token'],
    ['a promise of a string', async () => 'token'],
    ['an object', () => ({ value: 'token' })],
    ['an object with all properties', () => ({ ...endingAt(START + SECOND), user: 'app' })],
  ])('accepts %s', async (_label, give) => {
    await expect(counted(give).login.password()).resolves.toBe('token')
  })

  it('shares a token until it nears its expiry', async () => {
    const { login, calls, pass } = counted((call, now) =>
      endingAt(now + 600 * SECOND, `token ${call}`),
    )
    await Promise.all(Array.from({ length: 50 }, () => login.token()))
    pass(540 * SECOND - 1)
    expect(await login.password()).toBe('token 1')
    pass(1)
    expect(await login.password()).toBe('token 2')
    expect(calls()).toBe(2)
    expect(login.stats()).toMatchObject({ tokensMade: 2, tokensReused: 50 })
  })

  it.each([
    [60, undefined],
    [600, 600],
  ])(
    'treats a token without an expiry as valid for %d seconds',
    async (secs, tokenDurationSecs) => {
      const options = tokenDurationSecs === undefined ? {} : { tokenDurationSecs }
      const { login, calls, pass } = counted((call) => `token ${call}`, options)
      expect((await login.token()).expiresAt).toEqual(new Date(START + secs * SECOND))
      pass(secs * 900 - 1)
      await login.token()
      expect(calls()).toBe(1)
      pass(1)
      await login.token()
      expect(calls()).toBe(2)
    },
  )

  it('calls getToken for each connection if reuseTokenSecs is 0', async () => {
    const { login, calls } = counted((call) => `token ${call}`, { reuseTokenSecs: 0 })
    const tokens = await Promise.all(Array.from({ length: 3 }, () => login.password()))
    expect(tokens).toEqual(['token 1', 'token 2', 'token 3'])
    expect(calls()).toBe(3)
  })

  it('calls getToken for each host', async () => {
    const hosts: string[] = []
    const login = customLogin({
      host: [HOST, 'other.shop.example'],
      user: 'app',
      getToken: ({ host }) => {
        hosts.push(host)
        return 'token'
      },
    })
    expect(login.hosts).toEqual([HOST, 'other.shop.example'])
    await login.token()
    expect(hosts).toEqual([HOST])
  })
})

describe('the user of customLogin', () => {
  it('is the user of the token if none was given', async () => {
    const { login } = counted((call) => ({ value: 'token', user: `v-app-${call}` }), {
      user: undefined,
      reuseTokenSecs: 0,
    } as object)
    expect(login.user).toBeUndefined()
    expect((await login.token()).user).toBe('v-app-1')
    expect(login.user).toBe('v-app-1')
    await login.token()
    expect(login.user).toBe('v-app-2')
  })

  it('is the user of the environment unless the token names one', async () => {
    const env = { PGUSER: 'postgres' }
    const options = { user: undefined } as object
    const { login } = counted(() => 'token', options, env)
    await login.token()
    expect(login.user).toBe('postgres')
    const named = counted(() => ({ value: 'token', user: 'v-app' }), options, env)
    await named.login.token()
    expect(named.login.user).toBe('v-app')
  })

  it('is required', async () => {
    const { login } = counted(() => 'CANARY', { user: undefined } as object)
    const error = await rejectionOf(login.token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      message: `custom: the token for ${HOST} names no user, and the login has none`,
    })
    expect(printed(error)).not.toContain('CANARY')
  })

  it('must equal the user that was given', async () => {
    const { login } = counted(() => ({ value: 'CANARY', user: 'other' }))
    const error = await rejectionOf(login.token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      message: `custom: the token for ${HOST} is for the user "other", not for "app"`,
    })
    expect(printed(error)).not.toContain('CANARY')
  })
})

describe('the options of customLogin', () => {
  it.each<[object, string, string]>([
    [{}, 'ERR_OPTION_INVALID', '"getToken" must be a function, got undefined'],
    [
      { getToken: 'CANARY' },
      'ERR_OPTION_INVALID',
      '"getToken" must be a function, got a string of 6 characters',
    ],
    [{ getToken: () => 'x', host: undefined }, 'ERR_OPTION_INVALID', '"host" must be given'],
    [
      { getToken: () => 'x', tokenDurationSecs: 0 },
      'ERR_OPTION_INVALID',
      '"tokenDurationSecs" must be an integer of seconds from 1 to 604800, got 0',
    ],
    [
      { getToken: () => 'x', credentials: {} },
      'ERR_OPTION_INVALID',
      '"credentials" is not a known option',
    ],
  ])('are checked when the login is created: %p', (options, code, message) => {
    const given = { host: HOST, user: 'app', ...options } as unknown as CustomLoginOptions
    expect(thrownBy(() => createCustomLogin(given, {}))).toMatchObject({ code, message })
  })
})

describe('an invalid result of getToken', () => {
  const wholly = `custom: "getToken" must return a string or { value, expiresAt, user } for ${HOST}, got`
  const invalid = `custom: the token for ${HOST} is invalid:`
  const text = 'a non-empty string without control characters'

  it.each<[unknown, string]>([
    [undefined, `${wholly} undefined`],
    [null, `${wholly} null`],
    [5, `${wholly} a number`],
    [['CANARY'], `${wholly} an array of 1`],
    [new Map([['value', 'CANARY']]), `${wholly} an object`],
    [() => 'CANARY', `${wholly} a function`],
    ['', `${invalid} "value" must be ${text}, got an empty string`],
    ['CANARY\n', `${invalid} "value" must be ${text}, got a string of 7 characters`],
    ['CANARY\0', `${invalid} "value" must be ${text}, got a string of 7 characters`],
    [{}, `${invalid} "value" must be ${text}, got undefined`],
    [{ value: 5 }, `${invalid} "value" must be ${text}, got a number`],
    [
      { value: 'CANARY', expiresAt: 1_900_000_000 },
      `${invalid} "expiresAt" must be a valid Date, got a number`,
    ],
    [
      { value: 'CANARY', expiresAt: new Date(NaN) },
      `${invalid} "expiresAt" must be a valid Date, got an invalid Date`,
    ],
    [{ value: 'CANARY', user: '' }, `${invalid} "user" must be ${text}, got an empty string`],
    [
      { value: 'CANARY', expiresat: 1 },
      `custom: the token for ${HOST} has the unknown property "expiresat"`,
    ],
    [{ password: 'CANARY' }, `custom: the token for ${HOST} has the unknown property "password"`],
    [endingAt(START, 'CANARY'), `custom: the token for ${HOST} is already expired`],
  ])('is rejected (case %#)', async (given, message) => {
    const { login, calls } = counted((call) => (call === 1 ? given : 'token'))
    const error = await rejectionOf(login.token())
    expect(error).toMatchObject({ code: 'ERR_TOKEN_INVALID', message, retryable: false })
    expect(printed(error)).not.toContain('CANARY')
    // The failure is not cached.
    await expect(login.password()).resolves.toBe('token')
    expect(calls()).toBe(2)
  })

  it('is rejected with the nearest known property name', async () => {
    const { login } = counted(() => ({ value: 'token', expiresat: 1 }))
    expect(await rejectionOf(login.token())).toMatchObject({ hint: 'Did you mean "expiresAt"?' })
  })
})

describe('a getToken that fails', () => {
  const sealed = new Error('vault is sealed')

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw sealed
      },
    ],
    ['rejects', () => Promise.reject(sealed)],
  ])('is reported as the cause, and called again, if it %s', async (_label, fail) => {
    const { login } = counted((call) => (call === 1 ? fail() : 'token'))
    const failures = await Promise.all([rejectionOf(login.token()), rejectionOf(login.token())])
    expect(failures[0]).toMatchObject({
      code: 'ERR_TOKEN_REQUEST_FAILED',
      message: `custom: could not get a token for ${HOST}`,
      cause: sealed,
      retryable: false,
    })
    await expect(login.password()).resolves.toBe('token')
  })

  it('reports whether a retry may succeed', async () => {
    const down = Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNREFUSED' } })
    expect(await rejectionOf(counted(() => Promise.reject(down)).login.token())).toMatchObject({
      retryable: true,
      cause: down,
    })
  })

  it('passes on a PgIamError unchanged', async () => {
    const error = new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', 'x')
    expect(await rejectionOf(counted(() => Promise.reject(error)).login.token())).toBe(error)
  })

  it.each<[string, (context: TokenContext) => Promise<string>]>([
    ['never settles', () => new Promise(() => {})],
    [
      'rejects when its signal aborts',
      ({ signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error))
        }),
    ],
  ])('times out if it %s', async (_label, getToken) => {
    const login = customLogin({ host: HOST, user: 'app', getToken, tokenTimeoutMs: 50 })
    expect(await rejectionOf(login.token())).toMatchObject({
      code: 'ERR_TOKEN_TIMEOUT',
      message: `custom: could not get a token for ${HOST} within 50 ms`,
      retryable: true,
    })
  })
})
