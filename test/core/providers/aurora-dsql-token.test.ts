import { DsqlSigner } from '@aws-sdk/dsql-signer'
import * as fc from 'fast-check'
import { auroraDsql, type AwsCredentials } from '../../../core/index.js'
import { rejectionOf } from '../support/caught.js'
import { CLUSTER_ID, CREDENTIALS, HOST, OPTIONS } from '../support/dsql-options.js'
import { presigned } from '../support/presigned.js'
import { stopDateAt } from '../support/stop-date.js'

const NOW = new Date('2026-03-04T05:06:07.890Z')
beforeEach(() => stopDateAt(NOW))
afterEach(() => jest.useRealTimers())

/** The token of AWS's own signer, called directly. */
function signedByAws(
  options: { user: string; host: string; region: string; tokenDurationSecs: number },
  credentials: AwsCredentials,
): Promise<string> {
  const { user, host, region, tokenDurationSecs } = options
  const signer = new DsqlSigner({
    hostname: host,
    region,
    expiresIn: tokenDurationSecs,
    credentials,
  })
  return user === 'admin' ? signer.getDbConnectAdminAuthToken() : signer.getDbConnectAuthToken()
}

describe('the token of auroraDsql', () => {
  it("is byte for byte that of AWS's signer for the same second, with both signers", async () => {
    const text = fc.string({
      minLength: 1,
      maxLength: 40,
      unit: fc.constantFrom('a', 'Z', '9', '/', '+', '=', ' ', 'é', '%'),
    })
    const settings = fc.record({
      host: fc.constantFrom(
        HOST,
        `${CLUSTER_ID}.dsql-fnh4.eu-west-1.on.aws`,
        `${CLUSTER_ID}.dsql.ap-south-1.on.aws`,
      ),
      user: fc.constantFrom('admin', 'app', 'Admin', 'administrator', "o'brien"),
      tokenDurationSecs: fc.integer({ min: 1, max: 604_800 }),
    })
    const identity = fc.record(
      { accessKeyId: text, secretAccessKey: text, sessionToken: text },
      { requiredKeys: ['accessKeyId', 'secretAccessKey'] },
    )
    const at = fc.date({
      min: new Date('2020-01-01T00:00:00Z'),
      max: new Date('2090-01-01T00:00:00Z'),
      noInvalidDate: true,
    })
    await fc.assert(
      fc.asyncProperty(settings, identity, at, async (options, credentials, date) => {
        stopDateAt(date)
        for (const signer of ['built-in', 'aws-sdk'] as const) {
          const login = auroraDsql({ ...options, credentials, signer })
          const region = login.region ?? ''
          const expected = await signedByAws({ ...options, region }, credentials)
          expect(await login.password()).toBe(expected)
        }
      }),
      { numRuns: 60 },
    )
  })

  it.each([
    ['admin', 'DbConnectAdmin'],
    ['app', 'DbConnect'],
    ['Admin', 'DbConnect'],
    ['administrator', 'DbConnect'],
  ])('of the user %s is for the action %s', async (user, action) => {
    expect(presigned(await auroraDsql({ ...OPTIONS, user }).password())).toMatchObject({ action })
  })

  it('is for the host, even if another address is dialled and another name is verified', async () => {
    const login = auroraDsql({
      ...OPTIONS,
      connectTo: { host: '127.0.0.1', port: 1 },
      tls: { servername: 'other.example.com' },
    })
    expect(presigned(await login.password())).toEqual({
      host: HOST,
      action: 'DbConnect',
      accessKeyId: CREDENTIALS.accessKeyId,
      scope: '20260304/us-east-1/dsql/aws4_request',
      date: '20260304T050607Z',
      expires: '900',
      sessionToken: null,
    })
  })

  it('expires at the time in the token, to the second', async () => {
    for (const tokenDurationSecs of [1, 900, 604_800]) {
      const { expiresAt } = await auroraDsql({ ...OPTIONS, tokenDurationSecs }).token()
      expect(expiresAt).toEqual(
        new Date(Date.parse('2026-03-04T05:06:07Z') + tokenDurationSecs * 1000),
      )
    }
  })

  it('expires with the credentials that signed it if they expire first', async () => {
    const ofToken = Date.parse('2026-03-04T05:21:07Z')
    for (const [expiration, expiresAt] of [
      [ofToken - 1, ofToken - 1],
      [ofToken, ofToken],
      [ofToken + 1, ofToken],
    ] as const) {
      const credentials = { ...CREDENTIALS, expiration: new Date(expiration) }
      expect((await auroraDsql({ ...OPTIONS, credentials }).token()).expiresAt).toEqual(
        new Date(expiresAt),
      )
    }
  })

  it('is a new one for each connection, even within one second', async () => {
    const login = auroraDsql(OPTIONS)
    const [one, other] = await Promise.all([login.token(), login.token()])
    expect(one).not.toBe(other)
    expect(login.stats()).toMatchObject({ tokensMade: 2, tokensReused: 0, credentialCalls: 1 })
  })

  it('is signed with the new credentials after a refresh', async () => {
    let calls = 0
    const credentials = async (): Promise<AwsCredentials> => ({
      ...CREDENTIALS,
      accessKeyId: `AKIA${++calls}`,
      expiration: new Date(Date.now() + 3_600_000),
    })
    const login = auroraDsql({ ...OPTIONS, credentials })
    expect(presigned(await login.password()).accessKeyId).toBe('AKIA1')
    jest.setSystemTime(NOW.getTime() + 44 * 60_000)
    expect(presigned(await login.password()).accessKeyId).toBe('AKIA1')
    jest.setSystemTime(NOW.getTime() + 46 * 60_000)
    const renewed = await login.token()
    expect(presigned(renewed.value).accessKeyId).toBe('AKIA2')
    expect(renewed.expiresAt).toEqual(new Date(Date.parse('2026-03-04T05:52:07Z') + 900_000))
  })

  it('is rejected if it expires before it can be used', async () => {
    let calls = 0
    const credentials = async (): Promise<AwsCredentials> => {
      // The clock of this machine jumps while the credentials are requested.
      if (++calls === 1) jest.setSystemTime(NOW.getTime() + 3_600_000)
      return { ...CREDENTIALS, expiration: new Date(NOW.getTime() + 60_000) }
    }
    expect(await rejectionOf(auroraDsql({ ...OPTIONS, credentials }).token())).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      message: 'the AWS credentials have expired',
    })
  })

  it('is created by a login that was not used before', () => {
    const login = auroraDsql({ ...OPTIONS, credentials: () => Promise.reject(new Error('asked')) })
    expect(login.stats()).toEqual({
      tokensMade: 0,
      tokensReused: 0,
      tokensFailed: 0,
      credentialCalls: 0,
      connectionsOpened: 0,
      connectionsOpen: 0,
      conflictsRetried: 0,
    })
  })
})

describe('a credentials function that never settles', () => {
  it('fails the token in time, and does not delay the next connection', async () => {
    jest.useFakeTimers({
      doNotFake: ['Date', 'nextTick', 'setImmediate', 'queueMicrotask', 'performance', 'hrtime'],
    })
    let calls = 0
    const credentials = (): Promise<AwsCredentials> =>
      ++calls === 1 ? new Promise(() => {}) : Promise.resolve(CREDENTIALS)
    const login = auroraDsql({ ...OPTIONS, credentials, tokenTimeoutMs: 5_000 })
    const waiting = Promise.all([rejectionOf(login.token()), rejectionOf(login.token())])
    await jest.advanceTimersByTimeAsync(4_999)
    const later = rejectionOf(login.token())
    await jest.advanceTimersByTimeAsync(1)
    for (const error of [...(await waiting), await later]) {
      expect(error).toMatchObject({ code: 'ERR_TOKEN_TIMEOUT', retryable: true })
    }
    expect(calls).toBe(1)
    await expect(login.token()).resolves.toMatchObject({ expiresAt: expect.any(Date) })
    expect(jest.getTimerCount()).toBe(0)
  })
})
