import { PgIamError } from '../../../core/index.js'
import {
  createLoginCounters,
  createTokenInvalidation,
  createTokenSource,
  type LoginCounters,
  type TokenSourceSettings,
} from '../../../core/tokens/token-source.js'
import { createToken, type Token } from '../../../core/tokens/token.js'
import { rejectionOf } from '../support/caught.js'
import { type CollectedEvents, collectEvents } from '../support/collect-events.js'
import { printed } from '../support/printed.js'

const SECOND = 1_000
const IDENTITY = { provider: 'aurora-dsql', host: 'h', user: 'app' }

interface Source {
  token: () => Promise<Token>
  counters: LoginCounters
  /** The number of calls of the issuer. */
  issued: () => number
  /** Advances the clock. */
  pass: (ms: number) => void
}

/** A source whose tokens are valid for `lifeMs`, and are numbered in order of creation. */
function source(settings: Partial<TokenSourceSettings> = {}, lifeMs = 900 * SECOND): Source {
  let now = 1_700_000_000_000
  let issued = 0
  const counters = createLoginCounters()
  const token = createTokenSource(
    {
      issue: async () => createToken(`token ${++issued}`, new Date(now + lifeMs)),
      identity: () => IDENTITY,
      purpose: 'sign a token for h',
      reuseMs: 0,
      timeoutMs: 10_000,
      counters,
      ...settings,
    },
    () => now,
  )
  return { token, counters, issued: () => issued, pass: (ms) => (now += ms) }
}

let collected: CollectedEvents
beforeEach(() => {
  collected = collectEvents()
})
afterEach(() => collected.stop())

describe('createTokenSource', () => {
  it('creates a token for each connection', async () => {
    const { token, counters } = source()
    const tokens = await Promise.all([token(), token(), token()])
    expect(tokens.map(({ value }) => value)).toEqual(['token 1', 'token 2', 'token 3'])
    expect(counters).toMatchObject({ tokensMade: 3, tokensReused: 0, tokensFailed: 0 })
    expect(collected.names()).toEqual(['token.made', 'token.made', 'token.made'])
  })

  it('reports a token with its expiry and the time taken', async () => {
    const { token, pass } = source({
      issue: async () => {
        pass(250)
        return createToken('CANARY', new Date(1_800_000_000_000))
      },
    })
    await token()
    expect(collected.events).toEqual([
      {
        name: 'pg-iam:token.made',
        event: { ...IDENTITY, expiresAt: new Date(1_800_000_000_000), elapsedMs: 250 },
      },
    ])
    expect(printed(collected.events)).not.toContain('CANARY')
  })

  it.each([
    ['an error', new Error('original')],
    ['undefined', undefined],
    ['null', null],
    ['a string', 'original'],
    ['a number', 0],
  ])('wraps %s that the issuer rejects with, once, as the cause', async (_label, cause) => {
    const { token, counters } = source({ issue: () => Promise.reject(cause) })
    const error = (await rejectionOf(token())) as PgIamError
    expect(error).toMatchObject({
      name: 'PgIamError',
      code: 'ERR_TOKEN_REQUEST_FAILED',
      message: 'aurora-dsql: could not sign a token for h',
    })
    expect(Object.hasOwn(error, 'cause') && error.cause === cause).toBe(true)
    expect(counters).toMatchObject({ tokensMade: 0, tokensFailed: 1 })
    expect(collected.events).toEqual([
      { name: 'pg-iam:token.failed', event: { ...IDENTITY, error } },
    ])
  })

  it('passes on PgIamErrors unchanged, also when they are thrown synchronously', async () => {
    const failure = new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', 'none')
    const { token, counters } = source({
      issue: () => {
        throw failure
      },
    })
    expect(await rejectionOf(token())).toBe(failure)
    expect(counters.tokensFailed).toBe(1)
  })

  it('calls the issuer again after a failure', async () => {
    let calls = 0
    const { token } = source({
      issue: async () => {
        if (++calls === 1) throw new Error('x')
        return createToken('y', new Date(1_800_000_000_000))
      },
    })
    await rejectionOf(token())
    await expect(token()).resolves.toMatchObject({ value: 'y' })
  })

  it.each([0, -1, NaN])('rejects a token that expires in %p ms', async (lifeMs) => {
    const { token, counters } = source({}, lifeMs)
    expect(await rejectionOf(token())).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      message: 'aurora-dsql: the token for h is already expired',
      hint: expect.stringContaining('clock'),
    })
    expect(counters).toMatchObject({ tokensMade: 0, tokensFailed: 1 })
  })

  it('times out if the issuer never settles, and calls it again for the next connection', async () => {
    let calls = 0
    const { token, counters } = source({
      timeoutMs: 1,
      issue: () =>
        ++calls === 1
          ? new Promise(() => {})
          : Promise.resolve(createToken('y', new Date(1_800_000_000_000))),
    })
    expect(await rejectionOf(token())).toMatchObject({
      code: 'ERR_TOKEN_TIMEOUT',
      message: 'aurora-dsql: could not sign a token for h within 1 ms',
      retryable: true,
      hint: expect.stringContaining('"tokenTimeoutMs"'),
    })
    expect(counters.tokensFailed).toBe(1)
    await expect(token()).resolves.toMatchObject({ value: 'y' })
  })

  it('ignores a failure of the issuer after the timeout', async () => {
    let fail: ((error: Error) => void) | undefined
    const { token } = source({
      timeoutMs: 1,
      issue: () => new Promise((_, reject) => (fail = reject)),
    })
    await rejectionOf(token())
    fail?.(new Error('too late'))
    // An unhandled rejection would be reported before this turn of the event loop ends.
    await new Promise((resolve) => setImmediate(resolve))
  })
})

describe('createTokenSource with reuse', () => {
  it('shares a token for the configured time', async () => {
    const { token, counters, pass } = source({ reuseMs: 60 * SECOND })
    const first = await token()
    pass(60 * SECOND - 1)
    expect(await token()).toBe(first)
    pass(1)
    expect((await token()).value).toBe('token 2')
    expect(counters).toMatchObject({ tokensMade: 2, tokensReused: 1 })
    expect(collected.names()).toEqual(['token.made', 'token.reused', 'token.made'])
    expect(collected.events[1]?.event).toEqual({ ...IDENTITY, expiresAt: first.expiresAt })
  })

  it('calls the issuer once for concurrent connections, and counts the others as reuse', async () => {
    const { token, counters, issued } = source({ reuseMs: 60 * SECOND })
    const tokens = await Promise.all(Array.from({ length: 50 }, token))
    expect(new Set(tokens).size).toBe(1)
    expect(issued()).toBe(1)
    expect(counters).toMatchObject({ tokensMade: 1, tokensReused: 49 })
    expect(collected.names().filter((name) => name === 'token.reused')).toHaveLength(49)
  })

  it.each([
    ['a tenth of its life', 10 * SECOND, 9 * SECOND],
    ['a minute', 3_600 * SECOND, 3_540 * SECOND],
  ])('replaces a token %s before it expires', async (_label, lifeMs, keptMs) => {
    const { token, pass } = source({ reuseMs: 3_600 * SECOND }, lifeMs)
    const first = await token()
    pass(keptMs - 1)
    expect(await token()).toBe(first)
    pass(1)
    expect(await token()).not.toBe(first)
  })

  it('does not cache a failure, which all concurrent callers receive', async () => {
    let calls = 0
    const { token, counters } = source({
      reuseMs: 60 * SECOND,
      issue: async () => {
        if (++calls === 1) throw new Error('x')
        return createToken('y', new Date(1_800_000_000_000))
      },
    })
    const errors = await Promise.all([rejectionOf(token()), rejectionOf(token())])
    expect(errors[0]).toBe(errors[1])
    expect(counters.tokensFailed).toBe(1)
    await expect(token()).resolves.toMatchObject({ value: 'y' })
  })

  it('returns the shared token while it is valid, whatever the issuer would return', async () => {
    let calls = 0
    const { token } = source({
      reuseMs: 60 * SECOND,
      issue: async () => {
        if (++calls > 1) throw new Error('x')
        return createToken('y', new Date(1_800_000_000_000))
      },
    })
    await token()
    await expect(token()).resolves.toMatchObject({ value: 'y' })
  })
})

const START = 1_700_000_000_000

describe('createTokenInvalidation', () => {
  it('invalidates a shared token, so that another one is requested', async () => {
    const refused = createTokenInvalidation(() => START)
    expect(refused.replacements()).toBe(0)
    await expect(refused.renewAfterRefusal()).resolves.toBe(true)
    expect(refused.replacements()).toBe(1)
  })

  it('lets connections that were rejected together try the new token, without invalidating it', async () => {
    let now = START
    const refused = createTokenInvalidation(() => now)
    await refused.renewAfterRefusal()
    now += 4_999
    await expect(refused.renewAfterRefusal()).resolves.toBe(true)
    expect(refused.replacements()).toBe(1)
  })

  it('requests a new token at most once a minute', async () => {
    let now = START
    const refused = createTokenInvalidation(() => now)
    await refused.renewAfterRefusal()
    now += 5_000
    await expect(refused.renewAfterRefusal()).resolves.toBe(false)
    now = START + 59_999
    await expect(refused.renewAfterRefusal()).resolves.toBe(false)
    expect(refused.replacements()).toBe(1)
    now = START + 60_000
    await expect(refused.renewAfterRefusal()).resolves.toBe(true)
    expect(refused.replacements()).toBe(2)
  })
})
