import * as fc from 'fast-check'
import {
  type AwsCredentials,
  type AwsCredentialsProvider,
  PgIamError,
} from '../../../../core/index.js'
import { createCredentialsSource } from '../../../../core/providers/aws/credentials.js'
import { createLoginCounters, type LoginCounters } from '../../../../core/tokens/token-source.js'
import { rejectionOf } from '../../support/caught.js'
import { CREDENTIALS } from '../../support/dsql-options.js'

const MINUTE = 60_000
const TOKEN_MS = 15 * MINUTE
const START = 1_700_000_000_000

interface Source {
  fresh: () => Promise<AwsCredentials>
  /** The options of each call of the provider. */
  asked: unknown[]
  counters: LoginCounters
  pass: (ms: number) => void
}

/** A source whose provider returns `answer`, which gets the number of the call and the time. */
function source(
  answer: (call: number, now: number, isForced: boolean) => unknown,
  tokenDurationMs = TOKEN_MS,
): Source {
  let now = START
  const asked: unknown[] = []
  const counters = createLoginCounters()
  const provider = (options?: { forceRefresh?: boolean }): unknown => {
    asked.push(options)
    return answer(asked.length, now, options?.forceRefresh === true)
  }
  const fresh = createCredentialsSource(
    {
      provider: provider as AwsCredentialsProvider,
      tokenDurationMs,
      lookedFor: 'Looked here.',
      counters,
    },
    () => now,
  )
  return { fresh, asked, counters, pass: (ms) => (now += ms) }
}

function endingAt(time: number, accessKeyId = 'AKIA'): AwsCredentials {
  return { ...CREDENTIALS, accessKeyId, expiration: new Date(time) }
}

describe('createCredentialsSource', () => {
  it.each([
    ['a value', () => CREDENTIALS],
    ['a promise', async () => CREDENTIALS],
  ])('accepts %s', async (_label, answer) => {
    await expect(source(answer).fresh()).resolves.toEqual(CREDENTIALS)
  })

  it('calls the provider once for 50 concurrent connections, and never again if the credentials do not expire', async () => {
    const { fresh, asked, counters, pass } = source(async () => CREDENTIALS)
    const all = await Promise.all(Array.from({ length: 50 }, fresh))
    expect(new Set(all).size).toBe(1)
    pass(10_000 * MINUTE)
    expect(await fresh()).toBe(all[0])
    expect(asked).toEqual([undefined])
    expect(counters.credentialCalls).toBe(1)
  })

  it('refreshes the credentials if they would expire before a token', async () => {
    const { fresh, asked, pass } = source((call, now) => endingAt(now + 60 * MINUTE, `key ${call}`))
    await fresh()
    pass(45 * MINUTE - 1)
    await expect(fresh()).resolves.toMatchObject({ accessKeyId: 'key 1' })
    pass(1)
    await expect(fresh()).resolves.toMatchObject({ accessKeyId: 'key 2' })
    expect(asked).toEqual([undefined, { forceRefresh: true }])
  })

  it('calls the provider again, with forceRefresh, if its first result expires before a token', async () => {
    const { fresh, asked, counters } = source((_call, now, isForced) =>
      endingAt(now + (isForced ? 60 : 5) * MINUTE),
    )
    expect((await fresh()).expiration).toEqual(new Date(START + 60 * MINUTE))
    expect(asked).toEqual([undefined, { forceRefresh: true }])
    expect(counters.credentialCalls).toBe(2)
  })

  it('caches credentials that are always short-lived for half of their lifetime', async () => {
    const { fresh, asked, pass } = source((_call, now) => endingAt(now + 10 * MINUTE))
    await fresh()
    expect(asked).toHaveLength(2)
    pass(5 * MINUTE - 1)
    await fresh()
    expect(asked).toHaveLength(2)
    pass(1)
    await fresh()
    expect(asked).toHaveLength(3)
  })

  it('calls a provider that has no newer credentials less often than once per connection', async () => {
    const { fresh, asked, pass } = source(() => endingAt(START + 60 * MINUTE))
    for (let minute = 0; minute < 59; minute++) {
      await fresh()
      pass(MINUTE)
    }
    expect(asked.length).toBeLessThan(10)
  })

  it('rejects expired credentials with an error', async () => {
    const { fresh, pass } = source(() => endingAt(START + MINUTE))
    await fresh()
    pass(MINUTE)
    expect(await rejectionOf(fresh())).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      message: 'the AWS credentials have expired',
      hint: 'Looked here.',
    })
  })

  it.each(['accessKeyId', 'secretAccessKey', 'sessionToken'])(
    'rejects credentials whose %s ends with a line break, as one copied from a file does',
    async (part) => {
      const { fresh } = source(() => ({ ...CREDENTIALS, [part]: 'copied\n' }))
      expect(await rejectionOf(fresh())).toMatchObject({
        code: 'ERR_CREDENTIALS_UNAVAILABLE',
        message: 'the credentials contain a line break or another control character',
      })
    },
  )

  it('never returns expired credentials, whatever their lifetimes', async () => {
    const step = fc.record({
      lifeMs: fc.integer({ min: -1_000, max: 4_000_000 }),
      pauseMs: fc.nat(2_000_000),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1 }), async (steps) => {
        let index = 0
        let now = START
        const provider: AwsCredentialsProvider = () => endingAt(now + (steps[index]?.lifeMs ?? 0))
        const counters = createLoginCounters()
        const settings = { provider, tokenDurationMs: TOKEN_MS, lookedFor: '', counters }
        const fresh = createCredentialsSource(settings, () => now)
        for (; index < steps.length; index++) {
          const given = await fresh().catch((error: unknown) => error)
          if (given instanceof PgIamError) expect(given.code).toBe('ERR_CREDENTIALS_UNAVAILABLE')
          else expect((given as AwsCredentials).expiration?.getTime()).toBeGreaterThan(now)
          now += steps[index]?.pauseMs ?? 0
        }
      }),
    )
  })

  it.each([
    ['an error', new Error('original')],
    ['undefined', undefined],
    ['null', null],
    ['a string', 'original'],
  ])(
    'wraps %s that the provider throws or rejects with, and calls it again next time',
    async (_label, cause) => {
      const fail = (): never => {
        throw cause
      }
      for (const answer of [fail, async () => fail()]) {
        const { fresh, asked } = source((call) => (call === 1 ? answer() : CREDENTIALS))
        const failures = await Promise.all(
          Array.from({ length: 20 }, async () => rejectionOf(fresh())),
        )
        expect(new Set(failures).size).toBe(1)
        expect(failures[0]).toMatchObject({
          code: 'ERR_CREDENTIALS_UNAVAILABLE',
          message: 'could not get AWS credentials',
          hint: 'Looked here.',
        })
        expect((failures[0] as PgIamError).cause).toBe(cause)
        await expect(fresh()).resolves.toEqual(CREDENTIALS)
        expect(asked).toEqual([undefined, undefined])
      }
    },
  )

  it('passes on a PgIamError unchanged', async () => {
    const failure = new PgIamError('ERR_PEER_MISSING', 'x')
    const { fresh } = source(() => Promise.reject(failure))
    expect(await rejectionOf(fresh())).toBe(failure)
  })

  it.each([
    undefined,
    null,
    'AKIA',
    5,
    {},
    [],
    { accessKeyId: 'AKIA' },
    { accessKeyId: 'AKIA', secretAccessKey: '' },
    { accessKeyId: '', secretAccessKey: 'x' },
    { accessKeyId: 'AKIA', secretAccessKey: 5 },
  ])('rejects %p as credentials', async (given) => {
    expect(await rejectionOf(source(() => given).fresh())).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      message: expect.stringMatching(/^the credentials have no "(accessKeyId|secretAccessKey)"$/),
      hint: 'Looked here.',
    })
  })

  it.each(['2030-01-01', 1_900_000_000, new Date(NaN), null])(
    'rejects the expiration %p',
    async (expiration) => {
      expect(
        await rejectionOf(source(() => ({ ...CREDENTIALS, expiration })).fresh()),
      ).toMatchObject({
        code: 'ERR_CREDENTIALS_UNAVAILABLE',
        message: 'the credentials have an "expiration" that is not a valid Date',
      })
    },
  )

  it("keeps a copy, with the session token but without other properties of the provider's result", async () => {
    const given = {
      ...CREDENTIALS,
      sessionToken: 'session',
      accountId: '123',
      expiration: new Date(START + 60 * MINUTE),
    }
    const { fresh } = source(() => given)
    const kept = await fresh()
    expect(kept).not.toBe(given)
    expect(kept).toEqual({ ...CREDENTIALS, sessionToken: 'session', expiration: given.expiration })
    expect(await source(() => ({ ...CREDENTIALS, sessionToken: '' })).fresh()).toEqual(CREDENTIALS)
  })
})
