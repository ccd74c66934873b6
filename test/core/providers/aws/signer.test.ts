/** The effects of the `signer` option, with the installed AWS packages. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { Signer } from '@aws-sdk/rds-signer'
import {
  auroraDsql,
  type AwsCredentials,
  type AwsCredentialsProvider,
  entra,
  type Login,
  loginFromEnv,
  loginFromUrl,
  rds,
  redshift,
} from '../../../../core/index.js'
import { createAuroraDsql } from '../../../../core/providers/aurora-dsql.js'
import { createRds } from '../../../../core/providers/rds/rds.js'
import { rejectionOf, thrownBy } from '../../support/caught.js'
import { CREDENTIALS, HOST, OPTIONS } from '../../support/dsql-options.js'
import { presigned } from '../../support/presigned.js'
import { printed } from '../../support/printed.js'
import { RDS_HOST, RDS_OPTIONS } from '../../support/rds-options.js'
import { stopDateAt } from '../../support/stop-date.js'

const NOW = Date.parse('2026-03-04T05:06:07.890Z')
const MINUTE = 60_000
afterEach(() => jest.useRealTimers())

interface Given {
  signer?: 'aws-sdk' | 'built-in'
  credentials?: AwsCredentials | AwsCredentialsProvider
  reuseTokenSecs?: number
}

const { getDbConnectAuthToken } = DsqlSigner.prototype
const { getAuthToken } = Signer.prototype

/** The two providers, each with the signing function of its AWS package. */
const PROVIDERS = [
  {
    provider: 'aurora-dsql',
    host: HOST,
    packageName: '@aws-sdk/dsql-signer',
    login: (given: Given = {}): Login => auroraDsql({ ...OPTIONS, ...given }),
    spy: () => jest.spyOn(DsqlSigner.prototype, 'getDbConnectAuthToken'),
    original: (signer: unknown) => getDbConnectAuthToken.call(signer as DsqlSigner),
  },
  {
    provider: 'rds',
    host: RDS_HOST,
    packageName: '@aws-sdk/rds-signer',
    login: (given: Given = {}): Login => rds({ ...RDS_OPTIONS, reuseTokenSecs: 0, ...given }),
    spy: () => jest.spyOn(Signer.prototype, 'getAuthToken'),
    original: (signer: unknown) => getAuthToken.call(signer as Signer),
  },
] as const

describe.each(PROVIDERS)('the tokens of $provider', (each) => {
  const { provider, host, packageName, login, spy, original } = each

  it(`are signed by ${packageName} where nothing else is asked for, with one signer for all`, async () => {
    const signed = spy()
    const own = login()
    const tokens = await Promise.all(Array.from({ length: 20 }, () => own.password()))
    tokens.push(await own.password())
    expect(
      await Promise.all(signed.mock.results.map(({ value }) => value as Promise<string>)),
    ).toEqual(tokens)
    expect(new Set(signed.mock.contexts).size).toBe(1)
  })

  it('are signed by pg-iam with signer: "built-in"', async () => {
    const signed = spy()
    await login({ signer: 'built-in' }).token()
    expect(signed).not.toHaveBeenCalled()
    await login({ signer: 'aws-sdk' }).token()
    expect(signed).toHaveBeenCalledTimes(1)
  })

  it('are signed by the same AWS signer after the credentials were replaced', async () => {
    stopDateAt(NOW)
    const signed = spy()
    let calls = 0
    const own = login({
      credentials: async () => named(`AKIA${++calls}`, Date.now() + 60 * MINUTE),
    })
    const ids: string[] = []
    for (const minutes of [0, 46, 92]) {
      jest.setSystemTime(NOW + minutes * MINUTE)
      ids.push(presigned(await own.password()).accessKeyId)
    }
    expect(ids).toEqual(['AKIA1', 'AKIA2', 'AKIA3'])
    expect(new Set(signed.mock.contexts).size).toBe(1)
    expect(own.stats()).toMatchObject({ credentialCalls: 3 })
  })

  it("need no credentials calls besides the login's, even if the credentials expire within 15 minutes", async () => {
    const credentials = jest.fn(async () => named('AKIA', Date.now() + 10 * MINUTE))
    const own = login({ credentials })
    await own.token()
    const first = credentials.mock.calls.length
    for (let count = 0; count < 5; count++) await own.token()
    expect(credentials).toHaveBeenCalledTimes(first)
    expect(own.stats().credentialCalls).toBe(first)
  })

  it("expire at the time in AWS's token, whatever the clock of this machine", async () => {
    stopDateAt(NOW)
    const real = await login().password()
    const elsewhere = real.replace(/(X-Amz-Date=)\w+/, '$120260304T051000Z')
    spy().mockResolvedValue(elsewhere.replace(/(X-Amz-Expires=)\d+/, '$160'))
    expect((await login().token()).expiresAt).toEqual(new Date('2026-03-04T05:11:00Z'))
    const credentials = named('AKIA', Date.parse('2026-03-04T05:10:30Z'))
    expect((await login({ credentials }).token()).expiresAt).toEqual(credentials.expiration)
  })

  it('expire with the credentials that signed them, even if those were replaced meanwhile', async () => {
    stopDateAt(NOW)
    // The second ones expire before the first ones.
    const credentials = jest
      .fn<AwsCredentials, []>()
      .mockReturnValueOnce(named('AKIA1', NOW + 16 * MINUTE))
      .mockReturnValueOnce(named('AKIA2', NOW + 15 * MINUTE))
    const own = login({ credentials })
    let goOn = (): void => {}
    const paused = new Promise<void>((resolve) => (goOn = resolve))
    const isSigning = new Promise<void>((begun) => {
      spy().mockImplementationOnce(async function (this: unknown) {
        begun()
        await paused
        return original(this)
      })
    })
    const first = own.token()
    await isSigning
    jest.setSystemTime(NOW + 10 * MINUTE)
    const tokens = [await own.token(), (goOn(), await first)]
    for (const { value, expiresAt } of tokens) {
      expect(presigned(value).accessKeyId).toBe('AKIA2')
      expect(expiresAt).toEqual(new Date(NOW + 15 * MINUTE))
    }
  })

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['an empty text', ''],
    ['a line break', 'h/?X-Amz-Date=20260304T050607Z&X-Amz-Expires=900&CANARY\n'],
    ['no time', 'h/?X-Amz-Expires=900&X-Amz-Signature=CANARY'],
    ['a time of another form', 'h/?X-Amz-Date=2026-03-04&X-Amz-Expires=900&X-Amz-Signature=CANARY'],
    ['an invalid time', 'h/?X-Amz-Date=20261304T050607Z&X-Amz-Expires=900&X-Amz-Signature=CANARY'],
    ['no life', 'h/?X-Amz-Date=20260304T050607Z&X-Amz-Signature=CANARY'],
    [
      'an invalid lifetime',
      'h/?X-Amz-Date=20260304T050607Z&X-Amz-Expires=-1&X-Amz-Signature=CANARY',
    ],
    ['a time under another name', 'h/?My-X-Amz-Date=20260304T050607Z&X-Amz-Expires=900&CANARY'],
    ['a life under another name', 'h/?X-Amz-Date=20260304T050607Z&X-Amz-Expires-900&CANARY'],
  ])('are rejected, without being shown, if the signer returns %s', async (_label, value) => {
    spy().mockResolvedValue(value as string)
    const error = await rejectionOf(login().token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      message: expect.stringContaining(`${provider}: the token of ${packageName} for ${host} `),
      hint: `Install another version of ${packageName}, or set signer: 'built-in'.`,
    })
    expect(printed(error)).not.toContain('CANARY')
  })

  it('are requested again after the signer has failed', async () => {
    const cause = new Error('not today')
    spy().mockRejectedValueOnce(cause)
    const own = login()
    expect(await rejectionOf(own.token())).toMatchObject({
      code: 'ERR_TOKEN_REQUEST_FAILED',
      cause,
    })
    await expect(own.token()).resolves.toBeDefined()
    expect(own.stats()).toMatchObject({ tokensFailed: 1, tokensMade: 1 })
  })
})

function named(accessKeyId: string, end: number): AwsCredentials {
  return { ...CREDENTIALS, accessKeyId, expiration: new Date(end) }
}

describe("AWS's signers", () => {
  it('sign the token of an administrator with the action that is reserved for "admin"', async () => {
    const signed = jest.spyOn(DsqlSigner.prototype, 'getDbConnectAdminAuthToken')
    const token = await auroraDsql({ ...OPTIONS, user: 'admin' }).password()
    expect(presigned(token).action).toBe('DbConnectAdmin')
    expect(signed).toHaveBeenCalledTimes(1)
  })

  it('read the time themselves: a given clock only affects the built-in signer', async () => {
    stopDateAt(NOW)
    const clock = (): number => NOW - 5 * MINUTE
    const dates: unknown[] = []
    for (const signer of ['aws-sdk', 'built-in'] as const) {
      const logins = [
        createAuroraDsql({ ...OPTIONS, signer }, {}, clock),
        createRds({ ...RDS_OPTIONS, signer }, {}, { clock }),
      ]
      for (const login of logins) dates.push(presigned(await login.password()).date)
    }
    const [real, given] = ['20260304T050607Z', '20260304T050107Z']
    expect(dates).toEqual([real, real, given, given])
  })
})

describe('the option "signer"', () => {
  it.each<[string, () => Login, number]>([
    ['loginFromUrl', () => loginFromUrl(`postgres://app@${HOST}`, { credentials: CREDENTIALS }), 1],
    [
      'loginFromUrl, given as an option',
      () =>
        loginFromUrl(`postgres://app@${HOST}`, { credentials: CREDENTIALS, signer: 'built-in' }),
      0,
    ],
    [
      'loginFromUrl, given in the URL',
      () => loginFromUrl(`postgres://app@${HOST}?signer=built-in`, { credentials: CREDENTIALS }),
      0,
    ],
    [
      'loginFromUrl, where the option beats the URL',
      () =>
        loginFromUrl(`postgres://app@${HOST}?signer=built-in`, {
          credentials: CREDENTIALS,
          signer: 'aws-sdk',
        }),
      1,
    ],
    [
      'loginFromEnv',
      () => loginFromEnv({ credentials: CREDENTIALS }, { PGHOST: HOST, PGUSER: 'app' }),
      1,
    ],
    [
      'loginFromEnv, given as an option',
      () =>
        loginFromEnv(
          { credentials: CREDENTIALS, signer: 'built-in' },
          { PGHOST: HOST, PGUSER: 'app' },
        ),
      0,
    ],
  ])('is accepted by %s', async (_label, login, times) => {
    const signed = jest.spyOn(DsqlSigner.prototype, 'getDbConnectAuthToken')
    await login().token()
    expect(signed).toHaveBeenCalledTimes(times)
  })

  it.each(['sdk', 'AWS-SDK', '', true, null, {}])('is rejected if it is %p', (signer) => {
    for (const create of [auroraDsql, rds]) {
      const host = create === auroraDsql ? HOST : RDS_HOST
      expect(
        thrownBy(() => create({ host, user: 'app', signer: signer as 'aws-sdk' })),
      ).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(/^"signer" must be "aws-sdk" or "built-in", got /),
      })
    }
  })

  it('is unknown to providers whose tokens are not signed', () => {
    const signer = { signer: 'built-in' } as object
    const create = [
      () => redshift({ host: 'w.c1.eu-west-1.redshift.amazonaws.com', ...signer }),
      () => entra({ host: 'shop.postgres.database.azure.com', ...signer }),
      () => loginFromUrl('postgres://shop.postgres.database.azure.com?signer=built-in'),
    ]
    for (const each of create) {
      expect(thrownBy(each)).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: '"signer" is not a known option',
      })
    }
  })
})
