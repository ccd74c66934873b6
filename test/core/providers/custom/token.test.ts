import { PgIamError, customLogin, type TokenContext } from '../../../../core/index.js'
import { rejectionOf } from '../../support/caught.js'
import { printed } from '../../support/printed.js'
import { HOST, START, counted, endingAt } from './counted-login.js'

describe('what getToken must not give', () => {
  const wholly = `custom: "getToken" must give a string or { value, expiresAt, user } for ${HOST}, got`
  const partly = `custom: the token for ${HOST} came with`
  const text = 'a non-empty string without control characters'

  it.each<[unknown, string]>([
    [undefined, `${wholly} undefined`],
    [null, `${wholly} null`],
    [5, `${wholly} a number`],
    [['CANARY'], `${wholly} an array of 1`],
    [new Map([['value', 'CANARY']]), `${wholly} an object`],
    [() => 'CANARY', `${wholly} a function`],
    ['', `${partly} a "value" that must be ${text}, got an empty string`],
    ['CANARY\n', `${partly} a "value" that must be ${text}, got a string of 7 characters`],
    ['CANARY\0', `${partly} a "value" that must be ${text}, got a string of 7 characters`],
    [{}, `${partly} a "value" that must be ${text}, got undefined`],
    [{ value: 5 }, `${partly} a "value" that must be ${text}, got a number`],
    [
      { value: 'CANARY', expiresAt: 1_900_000_000 },
      `${partly} a "expiresAt" that must be a valid Date, got a number`,
    ],
    [
      { value: 'CANARY', expiresAt: new Date(NaN) },
      `${partly} a "expiresAt" that must be a valid Date, got an invalid Date`,
    ],
    [{ value: 'CANARY', user: '' }, `${partly} a "user" that must be ${text}, got an empty string`],
    [{ value: 'CANARY', expiresat: 1 }, `${partly} "expiresat", which is not known`],
    [{ password: 'CANARY' }, `${partly} "password", which is not known`],
    [endingAt(START, 'CANARY'), `custom: the token for ${HOST} came already expired`],
  ])('is no. %#', async (given, message) => {
    const { login, calls } = counted((call) => (call === 1 ? given : 'token'))
    const error = await rejectionOf(login.token())
    expect(error).toMatchObject({ code: 'ERR_TOKEN_INVALID', message, retryable: false })
    expect(printed(error)).not.toContain('CANARY')
    // It is forgotten.
    await expect(login.password()).resolves.toBe('token')
    expect(calls()).toBe(2)
  })

  it('is named with what was probably meant', async () => {
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
  ])('by what it %s is the cause, and is asked again', async (_label, fail) => {
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

  it('tells where it may be worth to try again', async () => {
    const down = Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNREFUSED' } })
    expect(await rejectionOf(counted(() => Promise.reject(down)).login.token())).toMatchObject({
      retryable: true,
      cause: down,
    })
  })

  it('passes an error of ours unchanged', async () => {
    const error = new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', 'x')
    expect(await rejectionOf(counted(() => Promise.reject(error)).login.token())).toBe(error)
  })

  it.each<[string, (context: TokenContext) => Promise<string>]>([
    ['never answers', () => new Promise(() => {})],
    [
      'gives up with its signal',
      ({ signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error))
        }),
    ],
  ])('since it %s fails in time', async (_label, getToken) => {
    const login = customLogin({ host: HOST, user: 'app', getToken, tokenTimeoutMs: 50 })
    expect(await rejectionOf(login.token())).toMatchObject({
      code: 'ERR_TOKEN_TIMEOUT',
      message: `custom: could not get a token for ${HOST} within 50 ms`,
      retryable: true,
    })
  })
})
