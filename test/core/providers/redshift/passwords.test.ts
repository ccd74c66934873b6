/** Passwords from the two APIs, through the real SDKs. */
import { X509Certificate } from 'node:crypto'
import { rootCertificates } from 'node:tls'
import type { Login, RedshiftOptions } from '../../../../core/index.js'
import { createRedshift } from '../../../../core/providers/redshift/redshift.js'
import { type RedshiftApi, startRedshiftApi } from '../../../support/aws/redshift-api.js'
import { type AwsFiles, createAwsFiles } from '../../support/aws-files.js'
import { rejectionOf } from '../../support/caught.js'
import { CREDENTIALS } from '../../support/dsql-options.js'
import { printed } from '../../support/printed.js'

const CLUSTER = 'shop.c0ffee.us-east-1.redshift.amazonaws.com'
const WORKGROUP = 'shop-wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com'
const OWN = { host: 'warehouse.shop.example', region: 'us-west-2' }
const MINUTE = 60_000
const surroundings = process.env

let files: AwsFiles
let api: RedshiftApi
let answer: Parameters<typeof startRedshiftApi>[0]
let ahead = 0

beforeAll(async () => {
  files = createAwsFiles({})
  api = await startRedshiftApi((request, count) => answer(request, count))
})
beforeEach(() => {
  process.env = { ...files.env, ...api.env, AWS_MAX_ATTEMPTS: '1' }
  ahead = 0
  answer = (_request, count) => given(`CANARY ${count}`)
})
afterEach(() => {
  process.env = surroundings
})
afterAll(async () => {
  await api.close()
  files.remove()
})

const now = (): number => Date.now() + ahead

function given(password: string): { user: string; password: string; expiration: Date } {
  return { user: 'IAMR:reader', password, expiration: new Date(now() + 15 * MINUTE) }
}

function login(options: RedshiftOptions): Login {
  return createRedshift({ credentials: CREDENTIALS, ...options }, {}, now)
}

/** The requests that reach the API while `work` runs. */
async function requestsDuring(work: () => Promise<unknown>): Promise<RedshiftApi['requests']> {
  const before = api.requests.length
  await work()
  return api.requests.slice(before)
}

describe.each([
  ['a cluster', CLUSTER, 'GetClusterCredentialsWithIAM', 'redshift', 'us-east-1'],
  ['a workgroup', WORKGROUP, 'GetCredentials', 'redshift-serverless', 'eu-west-1'],
] as const)('a password for %s', (_label, host, operation, service, region) => {
  it('is returned with its user and its expiry', async () => {
    const reader = login({ host, database: 'sales', tokenDurationSecs: 3_600 })
    expect(reader.user).toBeUndefined()
    const [request] = await requestsDuring(async () => {
      const token = await reader.token()
      expect(token.user).toBe('IAMR:reader')
      expect(token.value).toBe(api.passwordOf('IAMR:reader'))
      expect(Math.abs(token.expiresAt.getTime() - now() - 15 * MINUTE)).toBeLessThan(MINUTE)
    })
    expect(reader.user).toBe('IAMR:reader')
    expect(request).toMatchObject({
      operation,
      signer: { accessKeyId: CREDENTIALS.accessKeyId, service, region },
    })
    expect(request?.signer?.hasSignedWith(CREDENTIALS.secretAccessKey)).toBe(true)
    expect(request?.parameters).toMatchObject(
      service === 'redshift'
        ? { ClusterIdentifier: 'shop', DbName: 'sales', DurationSeconds: '3600' }
        : { workgroupName: 'shop-wg', dbName: 'sales', durationSeconds: '3600' },
    )
  })

  it('is requested at "apiEndpoint", whatever the environment says', async () => {
    const apiEndpoint = api.env['AWS_ENDPOINT_URL_REDSHIFT']!
    process.env = { ...files.env, AWS_MAX_ATTEMPTS: '1', AWS_ENDPOINT_URL: 'http://127.0.0.1:1' }
    const [request] = await requestsDuring(() => login({ host, apiEndpoint }).token())
    expect(request?.operation).toBe(operation)
    expect(request?.signer?.hasSignedWith(CREDENTIALS.secretAccessKey)).toBe(true)
  })

  it('leaves no connection to the API open', async () => {
    const [request] = await requestsDuring(() => login({ host }).token())
    await request?.disconnected()
  })

  it('is used for all connections until it nears its expiry', async () => {
    const reader = login({ host })
    const requests = await requestsDuring(async () => {
      const tokens = await Promise.all(Array.from({ length: 50 }, () => reader.token()))
      expect(new Set(tokens).size).toBe(1)
      ahead = 13 * MINUTE
      expect(await reader.token()).toBe(tokens[0])
      ahead = 14 * MINUTE + 30_000
      expect(await reader.token()).not.toBe(tokens[0])
    })
    expect(requests).toHaveLength(2)
    expect(reader.stats()).toMatchObject({ tokensMade: 2, tokensReused: 50, credentialCalls: 1 })
  })

  it('is requested with the cluster or workgroup name of the options', async () => {
    const names = service === 'redshift' ? { clusterIdentifier: 'two' } : { workgroupName: 'two' }
    const [atHost, atOwn] = await requestsDuring(async () => {
      await login({ host, ...names }).token()
      await login({ ...OWN, ...names }).token()
    })
    const expected = expect.objectContaining(
      service === 'redshift' ? { ClusterIdentifier: 'two' } : { workgroupName: 'two' },
    )
    expect([atHost?.parameters, atOwn?.parameters]).toEqual([expected, expected])
    expect(atOwn?.signer?.region).toBe('us-west-2')
  })

  it('is requested by a custom domain name', async () => {
    const customDomain = service === 'redshift' ? 'cluster' : 'workgroup'
    const [request] = await requestsDuring(() => login({ ...OWN, customDomain }).token())
    expect(request?.operation).toBe(operation)
    expect(request?.parameters).toMatchObject(
      service === 'redshift' ? { CustomDomainName: OWN.host } : { customDomainName: OWN.host },
    )
    expect(Object.keys(request?.parameters ?? {})).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/ClusterIdentifier|workgroupName/)]),
    )
  })

  it.each([
    ['AccessDenied', 403, false, /^Allow redshift(-serverless)?:Get/],
    ['AccessDeniedException', 403, false, /^Allow redshift(-serverless)?:Get/],
    [
      service === 'redshift' ? 'ClusterNotFound' : 'ResourceNotFoundException',
      404,
      false,
      /^Check the (cluster identifier|name of the workgroup)/,
    ],
    ['Throttling', 400, true, undefined],
    ['InternalFailure', 500, true, undefined],
  ])('fails with a hint if the API returns %s', async (code, status, retryable, hint) => {
    answer = () => ({ status, code })
    const reader = login({ host })
    const error = await rejectionOf(reader.token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_REQUEST_FAILED',
      message: `redshift: could not get a token for ${host}`,
      retryable,
      cause: expect.objectContaining({ name: expect.stringContaining(code) }),
    })
    const { hint: told } = error as { hint?: string }
    if (hint === undefined) expect(told).toBeUndefined()
    else expect(told).toMatch(hint)
    answer = () => given('later')
    expect(await reader.password()).toBe('later')
  })

  it.each<[string, object, RegExp]>([
    ['no password', { password: undefined }, /bPassword" must be a non-empty string/],
    ['a line break in the password', { password: 'CANARY\n' }, /bPassword" must be/],
    ['no user', { user: undefined }, /bUser" must be a non-empty string/],
    ['no expiry', { expiration: undefined }, /xpiration" must be a valid Date, got undefined/],
  ])('is rejected with %s', async (_part, wrong, message) => {
    answer = () => ({ ...given('CANARY'), ...wrong })
    const error = await rejectionOf(login({ host }).token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      message: expect.stringMatching(message),
    })
    expect(printed(error)).not.toContain('CANARY')
  })

  it('is rejected if it has already expired', async () => {
    answer = () => ({ ...given('x'), expiration: new Date(now() - 1) })
    expect(await rejectionOf(login({ host }).token())).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      message: `redshift: the token for ${host} is already expired`,
    })
  })

  it('times out if the API never answers, and aborts the request', async () => {
    let over: Promise<void> | undefined
    answer = (request) => {
      over = request.over
      return new Promise(() => {})
    }
    const error = await rejectionOf(login({ host, tokenTimeoutMs: 200 }).token())
    expect(error).toMatchObject({ code: 'ERR_TOKEN_TIMEOUT', retryable: true })
    await over
  })

  it('is requested once more if new credentials are available', async () => {
    let calls = 0
    const credentials = async (): Promise<typeof CREDENTIALS> => ({
      ...CREDENTIALS,
      accessKeyId: `AKIA${++calls}`,
    })
    answer = ({ signer }) =>
      signer?.accessKeyId === 'AKIA1'
        ? { status: 403, code: 'InvalidClientTokenId' }
        : given('by new ones')
    expect(await login({ host, credentials }).password()).toBe('by new ones')
    expect(calls).toBe(2)
  })

  it('is requested in time with valid credentials if new ones never arrive', async () => {
    let calls = 0
    const first = { ...CREDENTIALS, expiration: new Date(now() + 20 * MINUTE) }
    const credentials = (): Promise<typeof CREDENTIALS> =>
      ++calls === 1 ? Promise.resolve(first) : new Promise(() => {})
    const reader = login({ host, credentials, tokenTimeoutMs: 1_000 })
    await reader.token()
    ahead = 19 * MINUTE
    const password = await reader.password()
    expect(password).toBe(api.passwordOf('IAMR:reader'))
    expect(calls).toBe(2)
  })

  it('exposes no secret in its error', async () => {
    answer = () => ({ status: 403, code: 'ExpiredToken' })
    const secrets = { secretAccessKey: 'CANARY-key', sessionToken: 'CANARY-session' }
    const error = await rejectionOf(
      login({ host, credentials: { accessKeyId: 'AKIA', ...secrets } }).token(),
    )
    expect(error).toMatchObject({ code: 'ERR_TOKEN_REQUEST_FAILED' })
    expect(printed(error)).not.toContain('CANARY')
  })
})

describe('a password for a chosen user', () => {
  const chosen = { host: CLUSTER, dbUser: 'app', database: 'sales' }

  it('is requested through the older API, with the user that it returns', async () => {
    answer = () => ({ ...given('CANARY'), user: 'IAM:app' })
    const app = login(chosen)
    const [request] = await requestsDuring(async () => {
      expect((await app.token()).user).toBe('IAM:app')
    })
    expect(request).toMatchObject({
      operation: 'GetClusterCredentials',
      signer: { service: 'redshift', region: 'us-east-1' },
    })
    expect(request?.parameters).toMatchObject({
      ClusterIdentifier: 'shop',
      DbUser: 'app',
      DbName: 'sales',
      DurationSeconds: '900',
    })
    expect(Object.keys(request!.parameters)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/AutoCreate|DbGroups/)]),
    )
    expect(app.user).toBe('IAM:app')
  })

  it('creates the user and joins groups if requested', async () => {
    const [request] = await requestsDuring(() =>
      login({ ...chosen, autoCreate: true, dbGroups: ['readers', 'writers'] }).token(),
    )
    const { parameters = {} } = request ?? {}
    expect(parameters).toMatchObject({ AutoCreate: 'true' })
    const groups = Object.entries(parameters).filter(([name]) => name.startsWith('DbGroups.'))
    expect(groups.map(([, group]) => group)).toEqual(['readers', 'writers'])
  })

  it('is requested by a custom domain name', async () => {
    const [request] = await requestsDuring(() =>
      login({ ...OWN, customDomain: 'cluster', dbUser: 'app' }).token(),
    )
    expect(request).toMatchObject({
      operation: 'GetClusterCredentials',
      parameters: { CustomDomainName: OWN.host },
    })
  })

  it('fails with a hint that lists all required permissions if it is denied', async () => {
    answer = () => ({ status: 403, code: 'AccessDenied' })
    const error = await rejectionOf(
      login({ ...chosen, autoCreate: true, dbGroups: ['readers'] }).token(),
    )
    const arn = (of: string): string => `arn:aws:redshift:us-east-1:ACCOUNT:${of}`
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_REQUEST_FAILED',
      hint: `Allow redshift:GetClusterCredentials on ${arn('dbuser:shop/app')} and ${arn('dbname:shop/sales')}; redshift:CreateClusterUser on ${arn('dbuser:shop/app')}; redshift:JoinGroup on ${arn('dbgroup:shop/readers')}.`,
    })
  })
})

describe('the certificates of Redshift', () => {
  it('are signed by a CA that Node trusts', () => {
    const subjects = rootCertificates.map((pem) => new X509Certificate(pem).subject)
    for (const name of [
      'Amazon Root CA 1',
      'Amazon Root CA 2',
      'Amazon Root CA 3',
      'Amazon Root CA 4',
    ])
      expect(subjects).toContainEqual(expect.stringContaining(`CN=${name}`))
  })
})
