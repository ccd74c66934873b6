/** The emulated AWS APIs, called by the AWS SDK and by hand-made requests. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { inspect } from 'node:util'
import {
  DescribeClustersCommand,
  GetClusterCredentialsCommand,
  GetClusterCredentialsWithIAMCommand,
  type GetClusterCredentialsWithIAMCommandInput,
  RedshiftClient,
} from '@aws-sdk/client-redshift'
import {
  GetCredentialsCommand,
  RedshiftServerlessClient,
} from '@aws-sdk/client-redshift-serverless'
import { fromWebToken } from '@aws-sdk/credential-providers'
import { createPool } from '../../adapters/pg.js'
import type { Login } from '../../core/index.js'
import { basicTime, createSigner, scopeName } from '../../core/providers/aws/sigv4.js'
import {
  type Gateway,
  type GatewayCredentials,
  iamAuth,
  startGateway,
} from '../../gateway/index.js'
import { rejectionOf, thrownBy } from '../core/support/caught.js'
import { printed } from '../core/support/printed.js'
import { type OidcIssuer, startOidcIssuer } from '../support/issuers/oidc-issuer.js'
import { createSigningKeys } from '../support/issuers/signing-keys.js'
import { recordLog } from './upstream-gateway.js'

const CLUSTER = 'shop.abcdefghijkl.eu-west-1.redshift.amazonaws.com'
const WORKGROUP = 'shop-wg.111122223333.eu-west-1.redshift-serverless.amazonaws.com'
const OTHER = 'other.abcdefghijkl.eu-west-1.redshift.amazonaws.com'
const DSQL = 'abcdefghijklmnopqrstuvwxyz.dsql.eu-west-1.on.aws'
const RDS = 'db.abcdefghijkl.eu-west-1.rds.amazonaws.com'
const ALICE = 'arn:aws:iam::111122223333:role/team/alice'
const BOB = 'arn:aws:iam::111122223333:role/bob'
const KEYS = { accessKeyId: 'AKIDALICE', secretAccessKey: 'the secret of alice' }
const MINUTE_MS = 60_000
const surroundings = process.env

const log = recordLog()
let issuer: OidcIssuer
let now: () => number = Date.now
let gateway: Gateway
beforeAll(async () => {
  issuer = await startOidcIssuer()
  gateway = await startGateway({
    engine: 'postgres',
    database: 'dev',
    sql: 'postgres',
    logger: log.logger,
    clock: () => now(),
    webIdentity: { issuer: issuer.url, audience: 'shop' },
    principals: [
      { accessKeyId: 'AKIDAPP', secretAccessKey: 'the secret of app', roles: ['app'] },
      {
        ...{ accessKeyId: 'AKIDALICE2', secretAccessKey: 'another secret of alice' },
        ...{ roles: ['report'], arn: ALICE, subject: 'alice' },
      },
    ],
    endpoints: [
      {
        provider: 'redshift',
        hosts: [CLUSTER, WORKGROUP],
        users: [
          { roleArn: ALICE, subject: 'alice', ...KEYS, dbUsers: ['reporter'] },
          { roleArn: BOB, subject: 'bob' },
        ],
      },
      { provider: 'redshift', hosts: [OTHER], users: [{ roleArn: BOB }] },
      { provider: 'aurora-dsql', hosts: [DSQL] },
      { provider: 'rds', hosts: [RDS] },
    ],
  })
})
beforeEach(() => {
  now = Date.now
  process.env = {
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
  }
})
afterEach(() => {
  process.env = surroundings
})
afterAll(async () => {
  await gateway.close()
  await issuer.close()
})

interface Caller {
  credentials?: GatewayCredentials
  region?: string
}

const clientOptions = ({ credentials = { ...KEYS }, region = 'eu-west-1' }: Caller = {}) => ({
  ...{ credentials, region },
  endpoint: gateway.awsEndpointUrl!,
})

function clusterPassword(
  parameters: GetClusterCredentialsWithIAMCommandInput = { ClusterIdentifier: 'shop' },
  caller?: Caller,
) {
  const client = new RedshiftClient(clientOptions(caller))
  return client.send(new GetClusterCredentialsWithIAMCommand(parameters))
}

function workgroupPassword(workgroupName = 'shop-wg', caller?: Caller) {
  const client = new RedshiftServerlessClient(clientOptions(caller))
  return client.send(new GetCredentialsCommand({ workgroupName }))
}

/** Assumes a role with an ID token, through the SDK. */
function assume(webIdentityToken: string, options: { roleArn?: string; seconds?: number } = {}) {
  const { roleArn = ALICE, seconds } = options
  return fromWebToken({
    webIdentityToken,
    roleArn,
    roleSessionName: 'session-1',
    ...(seconds === undefined ? {} : { durationSeconds: seconds }),
    clientConfig: { region: 'eu-west-1', endpoint: gateway.awsEndpointUrl! },
  })() as Promise<GatewayCredentials>
}

async function userOf(login: Login): Promise<unknown> {
  const pool = createPool(login, { max: 1 })
  try {
    return (await pool.query('select current_user as me')).rows[0].me as unknown
  } finally {
    await pool.end()
  }
}

interface HandmadeRequest {
  body?: string
  service?: string
  credentials?: GatewayCredentials
  /** Changes the headers, which include the signature. */
  change?: (headers: Record<string, string>) => void
}

/** Sends a signed request without the SDK. */
async function send({
  body = 'Action=GetCallerIdentity&Version=2011-06-15',
  service = 'sts',
  credentials = KEYS,
  change = () => {},
}: HandmadeRequest = {}): Promise<Response> {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  const timestamp = basicTime(Date.now())
  const scope = { date: timestamp.slice(0, 8), region: 'eu-west-1', service }
  const host = new URL(gateway.awsEndpointUrl!).host
  const signed: [string, string][] = [
    ['content-type', 'application/x-www-form-urlencoded'],
    ['host', host],
    ['x-amz-date', timestamp],
    ...(sessionToken === undefined
      ? []
      : [['x-amz-security-token', sessionToken] as [string, string]]),
  ]
  const payloadHash = createHash('sha256').update(body).digest('hex')
  const request = {
    method: 'POST',
    host,
    headers: signed,
    query: '',
    timestamp,
    scope,
    payloadHash,
  }
  const signature = createSigner(secretAccessKey)(request).toString('hex')
  const names = signed.map(([name]) => name).join(';')
  const headers: Record<string, string> = {
    ...Object.fromEntries(signed.filter(([name]) => name !== 'host')),
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scopeName(scope)}, SignedHeaders=${names}, Signature=${signature}`,
  }
  change(headers)
  return fetch(gateway.awsEndpointUrl!, { method: 'POST', headers, body })
}

/** Sends an unsigned form. */
function post(form: Record<string, string>): Promise<Response> {
  return fetch(gateway.awsEndpointUrl!, { method: 'POST', body: new URLSearchParams(form) })
}

const codeIn = async (response: Response): Promise<string | undefined> =>
  /<Code>(\w+)<\/Code>/.exec(await response.text())?.[1]

describe('the API of a gateway', () => {
  it('listens on 127.0.0.1, and is named in the log', async () => {
    expect(gateway.awsEndpointUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect((await log.line('gateway: listening')).details).toMatchObject({
      awsEndpointUrl: gateway.awsEndpointUrl,
    })
  })

  it('does not exist without a Redshift endpoint and without an issuer, and ends with the gateway', async () => {
    const engine = {
      name: 'none',
      openSession: () => Promise.reject(new Error()),
      close: async () => {},
    }
    const without = await startGateway({ engine, sql: 'postgres' })
    expect(without.awsEndpointUrl).toBeUndefined()
    await without.close()
    const issuing = { issuer: issuer.url, audience: 'shop' }
    const withIssuer = await startGateway({ engine, sql: 'postgres', webIdentity: issuing })
    const { status } = await fetch(withIssuer.awsEndpointUrl!)
    expect(status).toBe(400)
    await withIssuer.close()
    await expect(fetch(withIssuer.awsEndpointUrl!)).rejects.toMatchObject({
      cause: { code: 'ECONNREFUSED' },
    })
  })

  it('dates its answers by the clock of the gateway, so that SDKs correct theirs', async () => {
    now = () => Date.now() - 60 * MINUTE_MS
    const sent = await send()
    expect(await codeIn(sent)).toBe('RequestExpired')
    const behind = Date.now() - Date.parse(sent.headers.get('date')!)
    expect(Math.round(behind / MINUTE_MS)).toBe(60)
    process.env['AWS_MAX_ATTEMPTS'] = '2'
    const client = new RedshiftClient({ ...clientOptions(), maxAttempts: 2 })
    const command = new GetClusterCredentialsWithIAMCommand({ ClusterIdentifier: 'shop' })
    expect(await client.send(command)).toMatchObject({ DbUser: 'IAMR:alice' })
  })
})

describe('a request for a password', () => {
  it('is answered with the user of the role', async () => {
    expect(await clusterPassword()).toMatchObject({
      DbUser: 'IAMR:alice',
      DbPassword: expect.any(String) as string,
      Expiration: expect.any(Date) as Date,
      NextRefreshTime: expect.any(Date) as Date,
    })
    expect(await workgroupPassword()).toMatchObject({
      dbUser: 'IAMR:alice',
      dbPassword: expect.any(String) as string,
      expiration: expect.any(Date) as Date,
    })
    expect((await log.line('gateway: issued a password')).details).toEqual({
      identity: 'AKIDALICE',
      user: 'IAMR:alice',
      host: CLUSTER,
      operation: 'GetClusterCredentialsWithIAM',
      expiresAt: expect.any(Date) as Date,
    })
  })

  const wrong: GatewayCredentials = { ...KEYS, secretAccessKey: 'wrong' }
  const unknown: GatewayCredentials = { ...KEYS, accessKeyId: 'AKIDNOBODY' }
  const app: GatewayCredentials = { accessKeyId: 'AKIDAPP', secretAccessKey: 'the secret of app' }

  it.each<[what: string, caller: Caller, name: string, serverless: string]>([
    [
      'with a wrong secret',
      { credentials: wrong },
      'SignatureDoesNotMatch',
      'InvalidSignatureException',
    ],
    [
      'with an unknown key',
      { credentials: unknown },
      'InvalidClientTokenId',
      'UnrecognizedClientException',
    ],
    [
      'with a session token of nobody',
      { credentials: { ...KEYS, sessionToken: 'x' } },
      'InvalidClientTokenId',
      'UnrecognizedClientException',
    ],
    [
      'of a principal that is no user',
      { credentials: app },
      'AccessDenied',
      'AccessDeniedException',
    ],
    [
      'for another region',
      { region: 'us-east-1' },
      'ClusterNotFoundFault',
      'ResourceNotFoundException',
    ],
  ])('is refused %s', async (_what, { credentials, region }, name, serverless) => {
    const caller = {
      ...(credentials && { credentials: { ...credentials } }),
      ...(region && { region }),
    }
    await expect(clusterPassword(undefined, caller)).rejects.toMatchObject({ name })
    await expect(workgroupPassword(undefined, caller)).rejects.toMatchObject({ name: serverless })
  })

  it('is refused with expired credentials', async () => {
    const { accessKeyId, secretAccessKey, sessionToken } = gateway.issueCredentials({
      host: CLUSTER,
      durationSecs: 120,
    })
    const credentials = { accessKeyId, secretAccessKey, sessionToken }
    expect(await clusterPassword(undefined, { credentials })).toMatchObject({
      DbUser: 'IAMR:alice',
    })
    now = () => Date.now() + 3 * MINUTE_MS
    await expect(clusterPassword(undefined, { credentials })).rejects.toMatchObject({
      name: 'ExpiredToken',
      $metadata: { httpStatusCode: 403 },
    })
    await expect(workgroupPassword(undefined, { credentials })).rejects.toMatchObject({
      name: 'ExpiredTokenException',
    })
  })

  it('is refused if it was signed six minutes ago', async () => {
    now = () => Date.now() + 6 * MINUTE_MS
    await expect(clusterPassword()).rejects.toMatchObject({ name: 'RequestExpired' })
    now = () => Date.now() + 4 * MINUTE_MS
    expect(await clusterPassword()).toMatchObject({ DbUser: 'IAMR:alice' })
  })

  it('is refused for an unknown cluster, and for one of others', async () => {
    await expect(clusterPassword({ ClusterIdentifier: 'nothing' })).rejects.toMatchObject({
      name: 'ClusterNotFoundFault',
      message: 'The cluster "nothing" does not exist in the region "eu-west-1".',
    })
    await expect(workgroupPassword('nothing')).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    })
    // The name of a workgroup is not that of a cluster.
    await expect(clusterPassword({ ClusterIdentifier: 'shop-wg' })).rejects.toMatchObject({
      name: 'ClusterNotFoundFault',
    })
    await expect(clusterPassword({ ClusterIdentifier: 'other' })).rejects.toMatchObject({
      name: 'AccessDenied',
      message:
        'User: arn:aws:sts::111122223333:assumed-role/alice/gateway is not authorized to perform: redshift:GetClusterCredentialsWithIAM',
    })
  })

  it('is refused for a database user that the role may not have', async () => {
    const command = new GetClusterCredentialsCommand({ ClusterIdentifier: 'shop', DbUser: 'admin' })
    await expect(new RedshiftClient(clientOptions()).send(command)).rejects.toMatchObject({
      name: 'AccessDenied',
    })
  })

  it.each<[what: string, parameters: GetClusterCredentialsWithIAMCommandInput]>([
    ['a short life', { ClusterIdentifier: 'shop', DurationSeconds: 899 }],
    ['a long life', { ClusterIdentifier: 'shop', DurationSeconds: 3_601 }],
    ['a malformed name', { ClusterIdentifier: 'Shop!' }],
    ['a malformed database', { ClusterIdentifier: 'shop', DbName: '1' }],
    ['no cluster', {}],
    ['two clusters', { ClusterIdentifier: 'shop', CustomDomainName: 'shop.example.com' }],
  ])('is refused with %s', async (_what, parameters) => {
    await expect(clusterPassword(parameters)).rejects.toMatchObject({
      name: 'InvalidParameterValue',
      $metadata: { httpStatusCode: 400 },
    })
  })

  it('is refused for another operation', async () => {
    const client = new RedshiftClient(clientOptions())
    await expect(client.send(new DescribeClustersCommand({}))).rejects.toMatchObject({
      name: 'InvalidAction',
      message: 'Could not find operation "DescribeClusters"',
    })
  })
})

describe('the signature of a request', () => {
  it('is accepted with the identity of its key', async () => {
    const answer = await (await send()).text()
    expect(answer).toContain('<Arn>arn:aws:sts::111122223333:assumed-role/alice/gateway</Arn>')
    expect(answer).toContain('<Account>111122223333</Account>')
    expect(answer).toMatch(/<UserId>AROA[0-9A-F]{17}:gateway<\/UserId>/)
  })

  it.each<[code: string, what: string, request: HandmadeRequest]>([
    [
      'MissingAuthenticationToken',
      'missing',
      { change: (headers) => delete headers['authorization'] },
    ],
    [
      'IncompleteSignature',
      'malformed',
      { change: (headers) => (headers['authorization'] = 'AWS4-HMAC-SHA256 nothing') },
    ],
    [
      'IncompleteSignature',
      'without a date',
      { change: (headers) => delete headers['x-amz-date'] },
    ],
    [
      'IncompleteSignature',
      'not for all headers',
      { change: (headers) => (headers['x-amz-security-token'] = 'added') },
    ],
    [
      'SignatureDoesNotMatch',
      'for another header',
      { change: (headers) => (headers['x-amz-date'] = basicTime(Date.now() - 1_000)) },
    ],
    ['SignatureDoesNotMatch', 'for another service', { service: 'redshift' }],
  ])('is refused (%s) if it is %s', async (code, _what, request) => {
    expect(await codeIn(await send(request))).toBe(code)
  })

  it('is refused for another body', async () => {
    const request = await send()
    expect(request.status).toBe(200)
    const { authorization, ...rest } = await headersOf()
    const changed = await fetch(gateway.awsEndpointUrl!, {
      method: 'POST',
      headers: { ...rest, authorization: authorization! },
      body: 'Action=GetCallerIdentity&Version=2011-06-15&Changed=1',
    })
    expect(await codeIn(changed)).toBe('SignatureDoesNotMatch')
  })
})

/** The headers of a signed request. */
async function headersOf(): Promise<Record<string, string>> {
  let sent: Record<string, string> = {}
  await send({ change: (headers) => (sent = { ...headers }) })
  return sent
}

describe('an ID token', () => {
  it('assumes the role of its subject, which has the rights of the role at every endpoint', async () => {
    const credentials = await assume(await issuer.token())
    expect(credentials.accessKeyId).toMatch(/^ASIA/)
    expect(credentials.expiration!.getTime() - Date.now()).toBeGreaterThan(59 * MINUTE_MS)
    expect(await userOf(gateway.login({ host: CLUSTER, credentials }))).toBe('IAMR:alice')
    expect(await userOf(gateway.login({ host: WORKGROUP, credentials }))).toBe('IAMR:alice')
    expect(await userOf(gateway.login({ host: DSQL, credentials, user: 'report' }))).toBe('report')
    expect(await userOf(gateway.login({ host: RDS, credentials, user: 'report' }))).toBe('report')
    await expect(
      userOf(gateway.login({ host: RDS, credentials, user: 'app' })),
    ).rejects.toMatchObject({
      code: '28000',
    })
    const identity = await (await send({ credentials })).text()
    expect(identity).toContain('<Arn>arn:aws:sts::111122223333:assumed-role/alice/session-1</Arn>')
  })

  it('of another user assumes another role', async () => {
    const credentials = await assume(await issuer.token({ sub: 'bob' }), { roleArn: BOB })
    expect(await userOf(gateway.login({ host: CLUSTER, credentials }))).toBe('IAMR:bob')
    // The same role of another endpoint has no subject.
    await expect(
      clusterPassword({ ClusterIdentifier: 'other' }, { credentials }),
    ).rejects.toMatchObject({ name: 'AccessDenied' })
  })

  it('gives credentials that end at their time', async () => {
    const credentials = await assume(await issuer.token(), { seconds: 900 })
    now = () => Date.now() + 16 * MINUTE_MS
    expect(await codeIn(await send({ credentials }))).toBe('ExpiredToken')
    now = Date.now
    const { accessKeyId, secretAccessKey } = credentials
    expect(await codeIn(await send({ credentials: { accessKeyId, secretAccessKey } }))).toBe(
      'InvalidClientTokenId',
    )
    gateway.revokeCredentials(accessKeyId)
    expect(await codeIn(await send({ credentials }))).toBe('InvalidClientTokenId')
  })

  it.each<[code: string, what: string, claims: Record<string, unknown>, status: number]>([
    ['ExpiredTokenException', 'that has expired', { exp: 1_700_000_000 }, 400],
    ['InvalidIdentityToken', 'for another audience', { aud: 'bakery' }, 400],
    ['InvalidIdentityToken', 'of another issuer', { iss: 'https://other.example.com' }, 400],
    ['InvalidIdentityToken', 'without a subject', { sub: undefined }, 400],
    ['IDPRejectedClaim', 'that is not valid yet', { nbf: 4_000_000_000 }, 403],
    ['AccessDenied', 'of another subject', { sub: 'mallory' }, 403],
    ['AccessDenied', 'of the subject of another role', { sub: 'bob' }, 403],
  ])('is refused (%s) if it is one %s', async (code, _what, claims, status) => {
    await expect(assume(await issuer.token(claims))).rejects.toMatchObject({
      name: expect.stringContaining(code) as string,
      $metadata: { httpStatusCode: status },
    })
    expect(log.lines.at(-1)).toMatchObject({ level: 'warn', details: { code } })
  })

  it('is refused if it is forged', async () => {
    const forger = await createSigningKeys()
    const claims = { iss: issuer.url, aud: 'shop', sub: 'alice', exp: 4_000_000_000 }
    const kid = issuer.keys.current()
    const tokens = [
      await forger.sign(claims),
      await forger.sign(claims, { header: { kid } }),
      await forger.sign(claims, { header: { kid: undefined } }),
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`,
      'nonsense',
    ]
    for (const token of tokens)
      await expect(assume(token)).rejects.toMatchObject({ name: 'InvalidIdentityTokenException' })
  })

  it('is refused if the issuer no longer publishes its key', async () => {
    const rotating = await startOidcIssuer()
    const token = await rotating.token()
    const revoked = rotating.keys.current()
    await rotating.keys.rotate()
    rotating.keys.revoke(revoked)
    const fresh = await startGatewayOf(rotating)
    expect(await codeIn(await assumeAt(fresh, token))).toBe('InvalidIdentityToken')
    expect((await assumeAt(fresh, await rotating.token())).status).toBe(200)
    await fresh.close()
    await rotating.close()
  })

  it('expires by the clock of the gateway', async () => {
    const token = await issuer.token()
    now = () => Date.now() + 4 * MINUTE_MS
    expect((await assumeAt(gateway, token)).status).toBe(200)
    now = () => Date.now() + 6 * MINUTE_MS
    expect(await codeIn(await assumeAt(gateway, token))).toBe('ExpiredTokenException')
  })

  it.each([
    ['accepted', 'ES256', 200],
    ['accepted', 'RS512', 200],
    ['refused', 'PS256', 400],
    ['refused', 'EdDSA', 400],
  ])('is %s with the algorithm %s', async (_verdict, algorithm, status) => {
    const own = await startOidcIssuer(algorithm)
    const fresh = await startGatewayOf(own)
    expect((await assumeAt(fresh, await own.token())).status).toBe(status)
    await fresh.close()
    await own.close()
  })

  it('is refused, to be tried again, if the issuer cannot be reached', async () => {
    const gone = await startOidcIssuer()
    const token = await gone.token()
    const fresh = await startGatewayOf(gone)
    await gone.close()
    expect(await codeIn(await assumeAt(fresh, token))).toBe('IDPCommunicationError')
    process.env['AWS_MAX_ATTEMPTS'] = '1'
    const error = await rejectionOf(
      fromWebToken({
        webIdentityToken: token,
        roleArn: ALICE,
        roleSessionName: 'session-1',
        clientConfig: { region: 'eu-west-1', endpoint: fresh.awsEndpointUrl! },
      })(),
    )
    expect(error).toMatchObject({ name: 'IDPCommunicationErrorException', $retryable: {} })
    await fresh.close()
  })

  it.each<[what: string, change: Record<string, string | undefined>]>([
    ['without a role', { RoleArn: undefined }],
    ['with a malformed role', { RoleArn: 'alice' }],
    ['without a name of the session', { RoleSessionName: undefined }],
    ['with a malformed name of the session', { RoleSessionName: 'a b' }],
    ['without a token', { WebIdentityToken: undefined }],
    ['with a short life', { DurationSeconds: '899' }],
    ['with a long life', { DurationSeconds: '43201' }],
    ['with a policy', { Policy: '{}' }],
  ])('is refused %s', async (_what, change) => {
    const response = await assumeAt(gateway, await issuer.token(), change)
    expect(response.status).toBe(400)
    expect(await codeIn(response)).toBe('ValidationError')
  })

  it('is in no error and no log', async () => {
    const token = await issuer.token({ aud: 'bakery' })
    const error = await rejectionOf(assume(token))
    const forged = await rejectionOf(assume(`${token}x`))
    const credentials = await assume(await issuer.token())
    const texts = [printed(error), printed(forged), JSON.stringify(log.lines)].join('\n')
    expect(texts).not.toContain(token.split('.')[2])
    expect(texts).not.toContain(credentials.secretAccessKey)
    expect(texts).not.toContain(credentials.sessionToken)
    expect(texts).not.toContain(KEYS.secretAccessKey)
    expect(inspect(gateway, { depth: 9, showHidden: true })).not.toContain(KEYS.secretAccessKey)
    expect(JSON.stringify(gateway)).not.toContain(KEYS.secretAccessKey)
  })
})

function startGatewayOf(own: OidcIssuer): Promise<Gateway> {
  return startGateway({
    engine: { name: 'none', openSession: () => Promise.reject(new Error()), close: async () => {} },
    webIdentity: { issuer: own.url, audience: 'shop' },
    endpoints: [
      { provider: 'redshift', hosts: [CLUSTER], users: [{ roleArn: ALICE, subject: 'alice' }] },
    ],
  })
}

/** Sends the request by hand, with changed parameters. */
function assumeAt(
  { awsEndpointUrl }: Gateway,
  token: string,
  change: Record<string, string | undefined> = {},
): Promise<Response> {
  const form = new URLSearchParams()
  const parameters: Record<string, string | undefined> = {
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    RoleArn: ALICE,
    RoleSessionName: 'session-1',
    WebIdentityToken: token,
    ...change,
  }
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) form.set(name, value)
  return fetch(awsEndpointUrl!, { method: 'POST', body: form })
}

describe('an invalid request', () => {
  it.each<[code: string, status: number, what: string, request: RequestInit & { path?: string }]>([
    ['InvalidAction', 400, 'a GET', { method: 'GET' }],
    ['InvalidAction', 400, 'another path', { body: 'Action=A', path: '/x' }],
    ['InvalidAction', 400, 'a query', { body: 'Action=A', path: '/?Action=B' }],
    ['MalformedInput', 400, 'another type', { body: '{}' }],
    ['InvalidAction', 400, 'another version', { body: new URLSearchParams({ Version: '1' }) }],
    [
      'MalformedInput',
      400,
      'a duplicate parameter',
      { body: new URLSearchParams('Action=A&Action=B&Version=2011-06-15') },
    ],
    [
      'InvalidAction',
      400,
      'an unknown operation',
      { body: new URLSearchParams('Action=toString&Version=2011-06-15') },
    ],
    [
      'RequestEntityTooLarge',
      413,
      'a body of more than 64 KiB',
      { body: new URLSearchParams({ WebIdentityToken: 'x'.repeat(65_536) }) },
    ],
  ])('gets %s with status %i for %s', async (code, status, _what, { path = '/', ...request }) => {
    const response = await fetch(gateway.awsEndpointUrl! + path, { method: 'POST', ...request })
    expect(response.status).toBe(status)
    expect(await codeIn(response)).toBe(code)
  })

  it.each([
    ['SerializationException', 'RedshiftServerless.GetCredentials', '{'],
    ['SerializationException', 'RedshiftServerless.GetCredentials', '[]'],
    ['SerializationException', 'RedshiftServerless.GetCredentials', '{"dbName":{}}'],
    ['UnknownOperationException', 'DynamoDB.GetItem', '{}'],
    ['UnknownOperationException', 'RedshiftServerless.Other', '{}'],
    ['MissingAuthenticationTokenException', 'RedshiftServerless.GetCredentials', '{}'],
  ])('gets %s for %s with the body %s', async (code, target, body) => {
    const response = await fetch(gateway.awsEndpointUrl!, {
      method: 'POST',
      headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': target },
      body,
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ __type: code })
  })

  it('ends its connection only, if it is no HTTP, is cut, or is far too large', async () => {
    const { port } = new URL(gateway.awsEndpointUrl!)
    const texts = [
      'nonsense\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc',
      `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n${'x'.repeat(2_000_000)}`,
    ]
    for (const text of texts) {
      const socket = connect(Number(port), '127.0.0.1').on('error', () => {})
      await once(socket, 'connect')
      const closed = new Promise((resolve) => socket.once('close', resolve))
      socket.resume().end(text)
      await closed
    }
    expect((await send()).status).toBe(200)
  })

  it('with an ID token has no issuer to ask if the gateway has none', async () => {
    const without = await startGateway({
      engine: {
        name: 'none',
        openSession: () => Promise.reject(new Error()),
        close: async () => {},
      },
      endpoints: [{ provider: 'redshift', hosts: [CLUSTER], users: [{ roleArn: ALICE }] }],
    })
    expect(await codeIn(await assumeAt(without, await issuer.token()))).toBe('InvalidIdentityToken')
    await without.close()
  })

  it('of an unsigned operation does not run others', async () => {
    const response = await post({ Action: 'GetCallerIdentity', Version: '2011-06-15' })
    expect(await codeIn(response)).toBe('MissingAuthenticationToken')
  })
})

describe('the options for ID tokens', () => {
  const USER = { roleArn: ALICE, subject: 'alice' }
  const REDSHIFT = { provider: 'redshift', hosts: [CLUSTER], users: [USER] } as const
  const PRINCIPAL = { ...KEYS, roles: ['app'], arn: ALICE, subject: 'alice' }
  it.each<[options: object, message: string]>([
    [{ webIdentity: 'x' }, '"webIdentity" must be an object, got "x"'],
    [{ webIdentity: { audience: 'shop' } }, '"webIdentity.issuer" must be given, got undefined'],
    [
      { webIdentity: { issuer: 'https://login.example.com' } },
      '"webIdentity.audience" must be given, got undefined',
    ],
    [
      { webIdentity: { issuer: 'http://login.example.com', audience: 'shop' } },
      '"webIdentity.issuer" must be an https URL, or an http URL on this machine, got "http://login.example.com"',
    ],
    [
      { webIdentity: { issuer: 'https://login.example.com', audience: 'shop', aud: 'x' } },
      '"webIdentity.aud" is not a known option',
    ],
    [{ endpoints: [REDSHIFT] }, '"webIdentity" must be given with a "subject"'],
    [{ principals: [PRINCIPAL] }, '"webIdentity" must be given with a "subject"'],
    [
      { endpoints: [{ provider: 'rds', hosts: [RDS], principals: [PRINCIPAL] }] },
      '"webIdentity" must be given with a "subject"',
    ],
    [
      { principals: [{ ...PRINCIPAL, arn: undefined }] },
      '"principals[0].arn" must be the ARN of an IAM role, got undefined',
    ],
    [
      { principals: [{ ...PRINCIPAL, arn: 'arn:aws:iam::111122223333:user/alice' }] },
      '"principals[0].arn" must be the ARN of an IAM role, got "arn:aws:iam::111122223333:user/alice"',
    ],
  ])('are refused if they are %j', async (options, message) => {
    await expect(startGateway(options)).rejects.toMatchObject({ message })
  })

  it('are refused by iamAuth(), which has no API', () => {
    const endpoint = { provider: 'rds', hosts: [RDS], principals: [PRINCIPAL] } as const
    expect(thrownBy(() => iamAuth(endpoint))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: '"endpoint.principals" must not have a "subject"',
    })
  })
})
