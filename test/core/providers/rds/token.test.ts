import { Signer } from '@aws-sdk/rds-signer'
import * as fc from 'fast-check'
import { rds, type AwsCredentials, type RdsOptions } from '../../../../core/index.js'
import { rejectionOf } from '../../support/caught.js'
import { CREDENTIALS } from '../../support/dsql-options.js'
import { presigned } from '../../support/presigned.js'
import { RDS_HOST, RDS_OPTIONS } from '../../support/rds-options.js'
import { stopDateAt } from '../../support/stop-date.js'

const NOW = new Date('2026-03-04T05:06:07.890Z')
const END_OF_TOKEN = Date.parse('2026-03-04T05:21:07Z')
beforeEach(() => stopDateAt(NOW))
afterEach(() => jest.useRealTimers())

const login = (options: RdsOptions = {}) => rds({ ...RDS_OPTIONS, ...options })

describe('the token of rds', () => {
  it("is byte for byte that of AWS's signer for the same second, with both signers", async () => {
    const text = fc.string({
      minLength: 1,
      maxLength: 40,
      unit: fc.constantFrom('a', 'Z', '9', '/', '+', '=', ' ', 'é', '%'),
    })
    const settings = fc.record({
      host: fc.constantFrom(
        RDS_HOST,
        'shop.cluster-ro-c1a2b3c4d5e6.us-gov-west-1.rds.amazonaws.com',
        'shop.proxy-c1a2b3c4d5e6.ap-southeast-2.rds.amazonaws.com',
        'shop.c1a2b3c4d5e6.rds.cn-north-1.amazonaws.com.cn',
      ),
      port: fc.integer({ min: 1, max: 65_535 }),
      user: fc.constantFrom('app', 'App', "o'brien", 'a b', 'a+b&c=d', 'mÿ', 'x'.repeat(63)),
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
        const { host: hostname, port, user: username } = options
        for (const signer of ['built-in', 'aws-sdk'] as const) {
          const made = login({ ...options, credentials, signer })
          const region = made.region ?? ''
          const expected = new Signer({ hostname, port, region, username, credentials })
          expect(await made.password()).toBe(await expected.getAuthToken())
        }
      }),
      { numRuns: 60 },
    )
  })

  it('is for host, port and user, whatever address is dialled and whatever name is verified', async () => {
    const token = await login({
      port: 6432,
      connectTo: { host: '127.0.0.1', port: 1 },
      tls: { servername: 'other.example.com' },
    }).password()
    expect(presigned(token)).toEqual({
      host: `${RDS_HOST}:6432`,
      action: 'connect',
      accessKeyId: CREDENTIALS.accessKeyId,
      scope: '20260304/eu-central-1/rds-db/aws4_request',
      date: '20260304T050607Z',
      expires: '900',
      sessionToken: null,
    })
    expect(new URL(`https://${token}`).searchParams.get('DBUser')).toBe('app')
  })

  it('is valid for 900 seconds, or until the credentials that signed it expire', async () => {
    expect((await login().token()).expiresAt).toEqual(new Date(END_OF_TOKEN))
    for (const [expiration, expiresAt] of [
      [END_OF_TOKEN - 1, END_OF_TOKEN - 1],
      [END_OF_TOKEN + 1, END_OF_TOKEN],
    ] as const) {
      const credentials = { ...CREDENTIALS, expiration: new Date(expiration) }
      expect((await login({ credentials }).token()).expiresAt).toEqual(new Date(expiresAt))
    }
  })

  it('is shared for 60 seconds, since RDS throttles new ones', async () => {
    const shared = login()
    const first = await shared.token()
    jest.setSystemTime(NOW.getTime() + 59_999)
    expect(await shared.token()).toBe(first)
    jest.setSystemTime(NOW.getTime() + 60_000)
    expect(await shared.token()).not.toBe(first)
    expect(shared.stats()).toMatchObject({ tokensMade: 2, tokensReused: 1, credentialCalls: 1 })
  })

  it('is not shared after its credentials have expired', async () => {
    const expiration = new Date(NOW.getTime() + 20_000)
    let calls = 0
    const credentials = (): AwsCredentials => ({
      ...CREDENTIALS,
      accessKeyId: `AKIA${++calls}`,
      expiration: calls > 2 ? new Date(NOW.getTime() + 3_600_000) : expiration,
    })
    const shared = login({ credentials })
    const first = await shared.token()
    expect(first.expiresAt).toEqual(expiration)
    jest.setSystemTime(NOW.getTime() + 19_000)
    const second = await shared.token()
    expect(presigned(second.value).accessKeyId).toBe('AKIA3')
  })

  it('is a new one for each connection with reuseTokenSecs: 0', async () => {
    const own = login({ reuseTokenSecs: 0 })
    await Promise.all([own.token(), own.token()])
    expect(own.stats()).toMatchObject({ tokensMade: 2, tokensReused: 0, credentialCalls: 1 })
  })

  it('is reported with the original error if it cannot be signed', async () => {
    const cause = new Error('no credentials today')
    const failing = login({ credentials: () => Promise.reject(cause) })
    expect(await rejectionOf(failing.token())).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      cause,
    })
  })
})
