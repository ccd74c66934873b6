/** Credentials that are due for a refresh, which fails. */
import type { AwsCredentials } from '../../../../core/index.js'
import { createAuroraDsql } from '../../../../core/providers/aurora-dsql.js'
import {
  createCredentialsSource,
  type CredentialsSource,
} from '../../../../core/providers/aws/credentials.js'
import { createLoginCounters } from '../../../../core/tokens/token-source.js'
import { rejectionOf } from '../../support/caught.js'
import { CREDENTIALS, HOST } from '../../support/dsql-options.js'
import { presigned } from '../../support/presigned.js'

const MINUTE = 60_000
const START = 1_700_000_000_000

interface Source {
  source: CredentialsSource
  calls: () => number
  pass: (ms: number) => void
}

/** A source of credentials with a lifetime of one hour. `later` answers every call except the first. */
function hourly(
  later: (call: number, now: number) => AwsCredentials | Promise<AwsCredentials>,
  renewalTimeoutMs?: number,
): Source {
  let now = START
  let calls = 0
  const provider = (): AwsCredentials | Promise<AwsCredentials> =>
    ++calls === 1 ? named('first', now + 60 * MINUTE) : later(calls, now)
  const source = createCredentialsSource(
    {
      provider,
      tokenDurationMs: 15 * MINUTE,
      lookedFor: 'Looked here.',
      counters: createLoginCounters(),
      ...(renewalTimeoutMs === undefined ? {} : { renewalTimeoutMs }),
    },
    () => now,
  )
  return { source, calls: () => calls, pass: (ms) => (now += ms) }
}

function named(accessKeyId: string, end: number): AwsCredentials {
  return { ...CREDENTIALS, accessKeyId, expiration: new Date(end) }
}

const fail = (): never => {
  throw new Error('STS is down')
}

describe('a failed refresh', () => {
  it('leaves the cached credentials in use until they expire', async () => {
    const { source, pass } = hourly(fail)
    await source()
    pass(45 * MINUTE)
    await expect(source()).resolves.toMatchObject({ accessKeyId: 'first' })
    pass(15 * MINUTE - 1)
    await expect(source()).resolves.toMatchObject({ accessKeyId: 'first' })
    pass(1)
    expect(await rejectionOf(source())).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      cause: new Error('STS is down'),
    })
  })

  it('is retried at most once every five seconds, however many connections are opened', async () => {
    const { source, calls, pass } = hourly(fail)
    await source()
    pass(50 * MINUTE)
    await Promise.all(Array.from({ length: 50 }, () => source()))
    expect(calls()).toBe(2)
    pass(4_999)
    await source()
    expect(calls()).toBe(2)
    pass(1)
    await source()
    expect(calls()).toBe(3)
  })

  it('never leaves expired credentials in use', async () => {
    const { source, pass } = hourly(fail)
    await source()
    pass(60 * MINUTE - 1_000)
    await source()
    pass(1_000)
    await rejectionOf(source())
  })

  it('is an error if the cached credentials expire while it is in progress', async () => {
    let fails: (error: Error) => void = () => {}
    const { source, pass } = hourly(() => new Promise((_resolve, reject) => (fails = reject)))
    await source()
    pass(60 * MINUTE - 1)
    const renewal = source()
    pass(1)
    fails(new Error('STS is down'))
    expect(await rejectionOf(renewal)).toMatchObject({ cause: new Error('STS is down') })
  })

  it('is not remembered once a refresh succeeds', async () => {
    const { source, pass } = hourly((call, now) =>
      call === 2 ? fail() : named('second', now + 60 * MINUTE),
    )
    await source()
    pass(50 * MINUTE)
    await source()
    pass(5_000)
    await expect(source()).resolves.toMatchObject({ accessKeyId: 'second' })
  })

  it.each([
    ['have expired', (_call: number, now: number) => named('ended', now)],
    ['are invalid', () => ({}) as AwsCredentials],
  ])('includes one that returns credentials that %s', async (_label, later) => {
    const { source, pass } = hourly(later)
    await source()
    pass(50 * MINUTE)
    await expect(source()).resolves.toMatchObject({ accessKeyId: 'first' })
  })
})

describe('a slow refresh', () => {
  it('delays connections no longer than allowed, and its result is still used', async () => {
    let answer: (given: AwsCredentials) => void = () => {}
    const { source, calls, pass } = hourly(() => new Promise((resolve) => (answer = resolve)), 1)
    await source()
    pass(50 * MINUTE)
    await expect(source()).resolves.toMatchObject({ accessKeyId: 'first' })
    answer(named('second', START + 120 * MINUTE))
    pass(5_000)
    await expect(source()).resolves.toMatchObject({ accessKeyId: 'second' })
    expect(calls()).toBe(2)
  })

  it('is awaited if the cached credentials expire meanwhile', async () => {
    let answer: (given: AwsCredentials) => void = () => {}
    const { source, calls, pass } = hourly(() => new Promise((resolve) => (answer = resolve)), 1)
    await source()
    pass(60 * MINUTE - 1)
    const waiting = source()
    pass(1)
    setTimeout(() => answer(named('second', START + 120 * MINUTE)), 20)
    await expect(waiting).resolves.toMatchObject({ accessKeyId: 'second' })
    expect(calls()).toBe(2)
  })

  it('is awaited if there are no cached credentials', async () => {
    let answer: (given: AwsCredentials) => void = () => {}
    const { source, pass } = hourly(() => new Promise((resolve) => (answer = resolve)), 1)
    await source()
    pass(60 * MINUTE)
    const waiting = source()
    answer(named('second', START + 120 * MINUTE))
    await expect(waiting).resolves.toMatchObject({ accessKeyId: 'second' })
  })
})

describe('a login whose credentials cannot be refreshed', () => {
  it.each<[string, () => Promise<AwsCredentials>]>([
    ['fails', () => Promise.reject(new Error('STS is down'))],
    ['stalls', () => new Promise(() => {})],
  ])('signs with its current credentials, in time, if the refresh %s', async (_label, renew) => {
    let ahead = 0
    let calls = 0
    const credentials = (): Promise<AwsCredentials> =>
      ++calls === 1 ? Promise.resolve(named('AKIAFIRST', Date.now() + 20 * MINUTE)) : renew()
    const warnings: unknown[] = []
    const warn = (...warning: unknown[]): void => {
      warnings.push(warning)
      throw new Error('no place to write to')
    }
    const logger = { debug() {}, info() {}, warn, error() {} }
    const options = { host: HOST, user: 'app', credentials, tokenTimeoutMs: 1_000, logger }
    const login = createAuroraDsql(options, {}, () => Date.now() + ahead)
    await login.token()
    // Half of their lifetime is over. A token signed by the real clock has not expired.
    ahead = 12 * MINUTE
    const tokens = await Promise.all([login.password(), login.password()])
    for (const token of tokens) expect(presigned(token).accessKeyId).toBe('AKIAFIRST')
    expect(calls).toBe(2)
    expect(warnings).toEqual([
      [expect.stringContaining('could not refresh AWS credentials'), { error: expect.any(Error) }],
    ])
  })
})

describe('the error of a failed credentials call', () => {
  it.each([
    ['a network error', Object.assign(new Error('x'), { code: 'ECONNREFUSED' }), true],
    ['a refusal', Object.assign(new Error('x'), { name: 'AccessDenied' }), false],
  ])('reports for %s whether a retry may succeed', async (_label, cause, retryable) => {
    const source = createCredentialsSource({
      provider: () => Promise.reject(cause),
      tokenDurationMs: MINUTE,
      lookedFor: '',
      counters: createLoginCounters(),
    })
    expect(await rejectionOf(source())).toMatchObject({ retryable, cause })
  })
})
