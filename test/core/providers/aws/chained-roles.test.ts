/** Role chaining: each role is assumed with the credentials of the previous one. */
import { auroraDsql, type AssumeRoleOptions, type Login } from '../../../../core/index.js'
import { startSts, type RoleCredentials, type StsStandIn } from '../../../support/aws/sts.js'
import { createAwsFiles, type AwsFiles } from '../../support/aws-files.js'
import { rejectionOf, thrownBy } from '../../support/caught.js'
import { CREDENTIALS, HOST } from '../../support/dsql-options.js'
import { presigned } from '../../support/presigned.js'

const ROLES = ['hub', 'team', 'reader'].map((name) => `arn:aws:iam::123456789012:role/${name}`)
const surroundings = process.env

let files: AwsFiles
let sts: StsStandIn
/** Which role may be assumed with which key. */
let mayTakeOn: (accessKeyId: string | undefined, role: string | undefined) => boolean

beforeAll(async () => {
  files = createAwsFiles({})
  sts = await startSts(({ signer, parameters: { RoleArn } }) =>
    mayTakeOn(signer?.accessKeyId, RoleArn) ? role(RoleArn ?? '') : 'AccessDenied',
  )
})
beforeEach(() => {
  process.env = { ...files.env, AWS_ENDPOINT_URL_STS: sts.url, AWS_MAX_ATTEMPTS: '1' }
  mayTakeOn = (accessKeyId, arn) => {
    const index = ROLES.indexOf(arn ?? '')
    return accessKeyId === (index === 0 ? CREDENTIALS.accessKeyId : keyOf(ROLES[index - 1] ?? ''))
  }
})
afterEach(() => {
  process.env = surroundings
})
afterAll(async () => {
  await sts.close()
  files.remove()
})

const keyOf = (arn: string): string => `ASIA${arn.split('/').pop()?.toUpperCase()}`

function role(arn: string): RoleCredentials {
  return {
    accessKeyId: keyOf(arn),
    secretAccessKey: `secret of ${arn}`,
    sessionToken: `session of ${arn}`,
    expiration: new Date(Date.now() + 3_600_000),
  }
}

function login(assumeRole: AssumeRoleOptions | AssumeRoleOptions[]): Login {
  return auroraDsql({ host: HOST, user: 'app', credentials: CREDENTIALS, assumeRole })
}

const chain = ROLES.map((roleArn) => ({ roleArn }))

describe('a chain of roles', () => {
  it('is assumed in order, each role with the credentials of the previous one', async () => {
    const before = sts.requests.length
    const token = await login(chain).password()
    expect(presigned(token)).toMatchObject({
      accessKeyId: 'ASIAREADER',
      sessionToken: `session of ${ROLES[2]}`,
    })
    const requests = sts.requests.slice(before)
    expect(requests.map(({ parameters: { RoleArn } }) => RoleArn)).toEqual(ROLES)
    const sessions = requests.map(({ signer }) => signer?.sessionToken)
    expect(sessions).toEqual([undefined, `session of ${ROLES[0]}`, `session of ${ROLES[1]}`])
    expect(requests[2]?.signer?.hasSignedWith(`secret of ${ROLES[1]}`)).toBe(true)
  })

  it('is assumed once for many connections, each role with its own options', async () => {
    const before = sts.requests.length
    const reader = login([
      { roleArn: ROLES[0]!, durationSecs: 43_200, sessionName: 'shop' },
      { roleArn: ROLES[1]!, externalId: 'ext-1', durationSecs: 3_600 },
    ])
    await Promise.all(Array.from({ length: 20 }, () => reader.token()))
    expect(sts.requests.slice(before).map(({ parameters }) => parameters)).toEqual([
      expect.objectContaining({ RoleSessionName: 'shop', DurationSeconds: '43200' }),
      expect.objectContaining({ ExternalId: 'ext-1', DurationSeconds: '3600' }),
    ])
    expect(reader.stats().credentialCalls).toBe(1)
  })

  it('may be a single role', async () => {
    expect(presigned(await login([chain[0]!]).password()).accessKeyId).toBe('ASIAHUB')
  })

  it('reports the whole chain if one role is denied', async () => {
    mayTakeOn = (_key, arn) => arn !== ROLES[1]
    expect(await rejectionOf(login(chain).token())).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      hint: expect.stringContaining(
        `Then assumed the role ${ROLES[0]}. Then assumed the role ${ROLES[1]}. Then`,
      ),
      cause: expect.objectContaining({ name: 'AccessDenied' }),
    })
  })

  it.each<[unknown, string]>([
    [[], '"assumeRole" must be a list with at least one value, got an array of 0'],
    [[{}], '"assumeRole[0].roleArn" must be the ARN of a role, got undefined'],
    [
      [chain[0], { ...chain[1], durationSecs: 3_601 }],
      '"assumeRole[1].durationSecs" must be at most 3600 seconds for a role that another role assumes, got 3601',
    ],
  ])('is checked when the login is created. %#', (assumeRole, message) => {
    expect(thrownBy(() => login(assumeRole as AssumeRoleOptions[]))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message,
    })
  })
})
