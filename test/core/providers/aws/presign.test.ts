import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { Signer } from '@aws-sdk/rds-signer'
import * as fc from 'fast-check'
import type { AwsCredentials } from '../../../../core/index.js'
import { createPresigner } from '../../../../core/providers/aws/sigv4.js'
import { CREDENTIALS, HOST } from '../../support/dsql-options.js'
import { presigned } from '../../support/presigned.js'
import { stopDateAt } from '../../support/stop-date.js'

const AT = Date.parse('2031-03-04T23:59:59.999Z')
const SETTINGS = {
  authority: HOST,
  service: 'dsql',
  region: 'us-east-1',
  parameters: { Action: 'DbConnect' },
  durationSecs: 900,
}
/** Strings that IAM may issue, often with characters that encoders treat differently. */
const text = fc.string({
  unit: fc.oneof(
    fc.constantFrom('!', "'", '(', ')', '*', '~', '/', '+', '=', '%', ' '),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
  minLength: 1,
  maxLength: 100,
})
const identity = fc.record(
  { accessKeyId: text, secretAccessKey: text, sessionToken: text },
  { requiredKeys: ['accessKeyId', 'secretAccessKey'] },
)
const time = fc.date({
  min: new Date('2020-01-01T00:00:00Z'),
  max: new Date('2090-01-01T00:00:00Z'),
  noInvalidDate: true,
})

afterEach(() => jest.useRealTimers())

describe('createPresigner', () => {
  it("signs as the AWS SDK's signers do, whatever the identity, the user and the time", async () => {
    await fc.assert(
      fc.asyncProperty(identity, text, time, async (credentials, user, date) => {
        stopDateAt(date)
        const hostname = 'shop.c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'
        const presignDsql = createPresigner(SETTINGS)
        const presignRds = createPresigner({
          authority: `${hostname}:5432`,
          service: 'rds-db',
          region: 'eu-west-1',
          parameters: { Action: 'connect', DBUser: user },
          durationSecs: 900,
        })
        const dsql = new DsqlSigner({ hostname: HOST, region: 'us-east-1', credentials })
        const settings = { hostname, port: 5432, region: 'eu-west-1', username: user, credentials }
        expect(presignDsql(credentials).value).toBe(await dsql.getDbConnectAuthToken())
        expect(presignRds(credentials).value).toBe(await new Signer(settings).getAuthToken())
      }),
      { numRuns: 300 },
    )
  })

  it('signs with the key of the current day, also after signing on the day before', async () => {
    const signer = new DsqlSigner({
      hostname: HOST,
      region: 'us-east-1',
      credentials: CREDENTIALS,
    })
    const presign = createPresigner(SETTINGS, () => Date.now())
    for (const at of [AT - 1_000, AT, AT + 1, AT + 1_000, AT - 1_000]) {
      stopDateAt(new Date(at))
      expect(presign(CREDENTIALS).value).toBe(await signer.getDbConnectAuthToken())
    }
  })

  it('signs with the credentials of each call', () => {
    const presign = createPresigner(SETTINGS, () => AT)
    const other: AwsCredentials = { ...CREDENTIALS, secretAccessKey: 'other', sessionToken: 'x' }
    const [first, second, third] = [presign(CREDENTIALS), presign(other), presign(CREDENTIALS)]
    expect(second.value).not.toBe(first.value)
    expect(presigned(second.value)).toMatchObject({ sessionToken: 'x' })
    expect(third.value).toBe(first.value)
  })

  it('returns the expiry: counted from the whole second in the token, or that of its credentials', () => {
    const presign = createPresigner(SETTINGS, () => AT)
    const end = Date.parse('2031-03-04T23:59:59Z') + 900_000
    const endWith = (expiration: number): Date =>
      presign({ ...CREDENTIALS, expiration: new Date(expiration) }).expiresAt
    expect(presign(CREDENTIALS).expiresAt).toEqual(new Date(end))
    expect(endWith(end - 1)).toEqual(new Date(end - 1))
    expect(endWith(end + 1)).toEqual(new Date(end))
  })
})
