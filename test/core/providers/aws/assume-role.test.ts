import {
  auroraDsql,
  type AuroraDsqlOptions,
  type AwsCredentials,
  type Login,
} from '../../../../core/index.js'
import { createAuroraDsql } from '../../../../core/providers/aurora-dsql.js'
import { type AwsFiles, createAwsFiles } from '../../support/aws-files.js'
import { rejectionOf } from '../../support/caught.js'
import { CREDENTIALS, HOST } from '../../support/dsql-options.js'
import { presigned } from '../../support/presigned.js'
import { type RoleCredentials, startSts, type StsStandIn } from '../../../support/aws/sts.js'

const ROLE = 'arn:aws:iam::123456789012:role/app/reader'
const HOUR = 3_600_000
const surroundings = process.env

let files: AwsFiles
let sts: StsStandIn
/** The response of the stand-in, set by each test. */
let answer: Parameters<typeof startSts>[0]

beforeAll(async () => {
  files = createAwsFiles({
    credentials: '[source]\naws_access_key_id = AKIASOURCE\naws_secret_access_key = x\n',
    config: `[profile chained]\nrole_arn = ${ROLE}\nsource_profile = source\nregion = us-east-1\n`,
  })
  sts = await startSts((request, count) => answer(request, count))
})
beforeEach(() => {
  process.env = { ...files.env, AWS_ENDPOINT_URL_STS: sts.url, AWS_MAX_ATTEMPTS: '1' }
  answer = () => role(HOUR)
})
afterEach(() => {
  process.env = surroundings
})
afterAll(async () => {
  await sts.close()
  files.remove()
})

function role(lifeMs: number, accessKeyId = 'ASIAROLE'): RoleCredentials {
  return {
    accessKeyId,
    secretAccessKey: 'role secret',
    sessionToken: `session of ${accessKeyId}`,
    expiration: new Date(Date.now() + lifeMs),
  }
}

function login(options: AuroraDsqlOptions = {}): Login {
  return auroraDsql({
    host: HOST,
    user: 'app',
    credentials: CREDENTIALS,
    assumeRole: { roleArn: ROLE },
    ...options,
  })
}

/** The requests that reach STS while `work` runs. */
async function requestsDuring(work: () => Promise<unknown>): Promise<StsStandIn['requests']> {
  const before = sts.requests.length
  await work()
  return sts.requests.slice(before)
}

describe('assumeRole', () => {
  it('signs with the credentials of the role, assumed with those of the login', async () => {
    const reader = login()
    let token = ''
    const requests = await requestsDuring(async () => {
      token = await reader.password()
    })
    expect(presigned(token)).toMatchObject({
      accessKeyId: 'ASIAROLE',
      sessionToken: 'session of ASIAROLE',
    })
    expect(requests).toEqual([
      {
        signer: expect.objectContaining({
          accessKeyId: CREDENTIALS.accessKeyId,
          service: 'sts',
          region: 'us-east-1',
        }),
        parameters: expect.objectContaining({
          Action: 'AssumeRole',
          RoleArn: ROLE,
          RoleSessionName: `pg-iam-${process.pid}`,
        }),
      },
    ])
    expect(requests[0]?.signer?.hasSignedWith(CREDENTIALS.secretAccessKey)).toBe(true)
    expect(requests[0]?.signer?.hasSignedWith('another')).toBe(false)
    expect(requests[0]?.parameters).not.toHaveProperty('ExternalId')
    expect(requests[0]?.parameters).not.toHaveProperty('DurationSeconds')
  })

  it('passes its options to STS', async () => {
    const options = { roleArn: ROLE, externalId: 'ext:1', sessionName: 'orders', durationSecs: 900 }
    const [request] = await requestsDuring(() => login({ assumeRole: options }).token())
    expect(request?.parameters).toMatchObject({
      ExternalId: 'ext:1',
      RoleSessionName: 'orders',
      DurationSeconds: '900',
    })
  })

  it('calls STS once for 50 concurrent connections', async () => {
    const reader = login()
    const requests = await requestsDuring(() =>
      Promise.all(Array.from({ length: 50 }, () => reader.token())),
    )
    expect(requests).toHaveLength(1)
    expect(reader.stats()).toMatchObject({ tokensMade: 50, credentialCalls: 1 })
  })

  it('works from a profile, and with a profile that assumes a role itself', async () => {
    const [fromProfile] = await requestsDuring(() =>
      login({ credentials: undefined, profile: 'source' } as object).token(),
    )
    expect(fromProfile?.signer?.accessKeyId).toBe('AKIASOURCE')
    const chained = auroraDsql({ host: HOST, user: 'app', profile: 'chained' })
    expect(presigned(await chained.password()).accessKeyId).toBe('ASIAROLE')
  })

  it('limits the token to the credentials of the role, and assumes the role again in time', async () => {
    let expiration = new Date(0)
    answer = (_request, count) => {
      const given = role(60_000, `ASIA${count}`)
      expiration = given.expiration
      return given
    }
    const reader = login()
    const first = await reader.token()
    // STS returns whole milliseconds in this stand-in, and they are kept.
    expect(first.expiresAt).toEqual(expiration)
    expect(presigned(first.value).expires).toBe('900')
    await reader.token()
    // The first call, and a second one since the first result expires before a token. Then it is cached.
    expect(reader.stats().credentialCalls).toBe(2)
  })

  it('reports the error of STS with the role, and calls STS again next time', async () => {
    answer = () => 'AccessDenied'
    const reader = login()
    expect(await rejectionOf(reader.token())).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      hint: `Used the value given as "credentials"; give a function if they expire. Then assumed the role ${ROLE}.`,
      cause: expect.objectContaining({ name: 'AccessDenied' }),
    })
    answer = () => role(HOUR)
    expect(presigned(await reader.password()).accessKeyId).toBe('ASIAROLE')
  })

  it('gets the base credentials again each time, so that they can be rotated', async () => {
    let current = 'AKIAOLD'
    answer = ({ signer }) =>
      signer?.accessKeyId === current ? role(60_000) : 'InvalidClientTokenId'
    let ahead = 0
    const credentials = async (): Promise<AwsCredentials> => ({
      ...CREDENTIALS,
      accessKeyId: current,
    })
    const reader = createAuroraDsql(
      { host: HOST, user: 'app', credentials, assumeRole: { roleArn: ROLE } },
      {},
      () => Date.now() + ahead,
    )
    await reader.token()
    current = 'AKIANEW'
    ahead = 40_000
    const requests = await requestsDuring(() => reader.token())
    expect(requests.map(({ signer }) => signer?.accessKeyId)).toEqual(['AKIANEW'])
  })

  it('gets the base credentials again after STS rejected them', async () => {
    let calls = 0
    answer = ({ signer }) => (signer?.accessKeyId === 'AKIA1' ? 'InvalidClientTokenId' : role(HOUR))
    const reader = login({
      credentials: async () => ({ ...CREDENTIALS, accessKeyId: `AKIA${++calls}` }),
    })
    await rejectionOf(reader.token())
    expect(presigned(await reader.password()).accessKeyId).toBe('ASIAROLE')
  })

  it('reports a failure of the base credentials as its cause', async () => {
    const cause = new Error('vault is sealed')
    const reader = login({ credentials: () => Promise.reject(cause) })
    const requests = await requestsDuring(async () => {
      expect(await rejectionOf(reader.token())).toMatchObject({
        code: 'ERR_CREDENTIALS_UNAVAILABLE',
        cause,
      })
    })
    expect(requests).toEqual([])
  })
})
