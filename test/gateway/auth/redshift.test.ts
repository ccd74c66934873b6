/** Logins to Redshift endpoints, with passwords that the AWS SDK gets from the gateway. */
import {
  GetClusterCredentialsCommand,
  GetClusterCredentialsWithIAMCommand,
  RedshiftClient,
} from '@aws-sdk/client-redshift'
import {
  GetCredentialsCommand,
  RedshiftServerlessClient,
} from '@aws-sdk/client-redshift-serverless'
import { Client } from 'pg'
import { createPool } from '../../../adapters/pg.js'
import { type Login, redshift, type RedshiftOptions } from '../../../core/index.js'
import { createPrincipals } from '../../../gateway/auth/aws.js'
import { endpointOptions } from '../../../gateway/auth/endpoints.js'
import { createRedshiftPasswords } from '../../../gateway/auth/redshift-passwords.js'
import { createCertificates } from '../../../gateway/certificates.js'
import {
  type Gateway,
  type GatewayCredentials,
  type GatewayLoginOptions,
  iamAuth,
  startGateway,
} from '../../../gateway/index.js'
import { thrownBy } from '../../core/support/caught.js'
import { recordLog } from '../upstream-gateway.js'

const CLUSTER = 'shop.abcdefghijkl.eu-west-1.redshift.amazonaws.com'
const SECOND = 'stock.abcdefghijkl.eu-west-1.redshift.amazonaws.com'
const WORKGROUP = 'shop-wg.111122223333.eu-west-1.redshift-serverless.amazonaws.com'
const DOMAIN = 'warehouse.example.com'
const OTHER = 'other.abcdefghijkl.us-east-1.redshift.amazonaws.com'
const BOB = { accessKeyId: 'AKIDBOB', secretAccessKey: 'the secret of bob' }
const MINUTE_MS = 60_000
const surroundings = process.env

const log = recordLog()
let now: () => number = Date.now
let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({
    engine: 'postgres',
    database: 'dev',
    logger: log.logger,
    clock: () => now(),
    endpoints: [
      {
        provider: 'redshift',
        hosts: [CLUSTER, SECOND, WORKGROUP, DOMAIN],
        region: 'eu-west-1',
        users: [
          { roleArn: 'arn:aws:iam::111122223333:role/team/alice', dbUsers: ['reporter'] },
          { roleArn: 'arn:aws:iam::111122223333:role/bob', ...BOB },
        ],
      },
      {
        provider: 'redshift',
        hosts: [OTHER],
        users: [{ roleArn: 'arn:aws:iam::111122223333:role/alice' }],
      },
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
afterAll(() => gateway.close())

async function userOf(login: Login): Promise<unknown> {
  const pool = createPool(login, { max: 1 })
  try {
    const { rows } = await pool.query('select current_user as me')
    return rows[0].me as unknown
  } finally {
    await pool.end()
  }
}

/** Logs in with a user and a password. */
async function logIn(
  { DbUser, DbPassword }: { DbUser?: string | undefined; DbPassword?: string | undefined },
  { host = CLUSTER, database = 'dev' }: { host?: string; database?: string } = {},
): Promise<unknown> {
  const client = new Client({
    host: gateway.host,
    port: gateway.port,
    user: DbUser!,
    password: DbPassword!,
    database,
    ssl: { ca: gateway.ca, servername: host },
  })
  await client.connect()
  const { rows } = await client.query('select current_user as me')
  await client.end()
  return rows[0].me as unknown
}

/** What the API answers to `GetClusterCredentialsWithIAM`. */
async function clusterPassword({
  cluster = 'shop',
  region = 'eu-west-1',
  credentials = gateway.credentials as GatewayCredentials,
  ...parameters
}: {
  cluster?: string
  region?: string
  credentials?: GatewayCredentials
  DbName?: string
  DurationSeconds?: number
} = {}) {
  const client = new RedshiftClient({ region, credentials, endpoint: gateway.awsEndpointUrl! })
  const command = { ClusterIdentifier: cluster, ...parameters }
  return client.send(new GetClusterCredentialsWithIAMCommand(command))
}

async function refusal(work: Promise<unknown>, reason: string): Promise<void> {
  const before = gateway.stats().refusals[reason as 'token-expired'] ?? 0
  await expect(work).rejects.toMatchObject({ severity: 'FATAL', code: '28000' })
  await log.refusal(reason)
  expect(gateway.stats().refusals).toMatchObject({ [reason]: before + 1 })
}

describe('a login of the gateway to Redshift', () => {
  it.each<[api: string, user: string, options: GatewayLoginOptions]>([
    ['GetClusterCredentialsWithIAM', 'IAMR:alice', { host: CLUSTER }],
    ['GetCredentials', 'IAMR:alice', { host: WORKGROUP }],
    ['GetClusterCredentials', 'IAM:reporter', { host: CLUSTER, dbUser: 'reporter' }],
    [
      'GetClusterCredentials, which creates the user',
      'IAMA:reporter',
      { host: CLUSTER, dbUser: 'reporter', autoCreate: true, dbGroups: ['readers'] },
    ],
    [
      'GetClusterCredentialsWithIAM for a custom domain name',
      'IAMR:alice',
      { host: DOMAIN, customDomain: 'cluster', region: 'eu-west-1' },
    ],
    [
      'GetCredentials for a custom domain name',
      'IAMR:alice',
      { host: DOMAIN, customDomain: 'workgroup', region: 'eu-west-1' },
    ],
  ])('gets its password with %s, and logs in as %s', async (_api, user, options) => {
    const login = gateway.login(options)
    expect(login).toMatchObject({ provider: 'redshift', database: 'dev' })
    expect(await userOf(login)).toBe(user)
    expect((await log.line('gateway: accepted a login')).details).toMatchObject({
      provider: 'redshift',
      identity: gateway.credentials.accessKeyId,
      role: user,
    })
  })

  it('is as another user with the credentials of the other user', async () => {
    expect(await userOf(gateway.login({ host: CLUSTER, credentials: { ...BOB } }))).toBe('IAMR:bob')
    expect(await userOf(gateway.login({ host: CLUSTER }))).toBe('IAMR:alice')
  })

  it('is to the endpoint of its host, with the credentials of that endpoint', async () => {
    expect(await userOf(gateway.login({ host: OTHER }))).toBe('IAMR:alice')
  })

  it('works with temporary credentials of the gateway', async () => {
    const credentials = gateway.issueCredentials({ host: CLUSTER })
    expect(await userOf(gateway.login({ host: CLUSTER, credentials }))).toBe('IAMR:alice')
  })

  it('rejects a user, because Redshift names it', () => {
    expect(thrownBy(() => gateway.login({ user: 'app' } as never))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
    })
  })

  it('opens 20 connections with one password', async () => {
    const pool = createPool(gateway.login({ host: CLUSTER }), { max: 20 })
    const before = gateway.stats().distinctTokens
    await Promise.all(Array.from({ length: 20 }, () => pool.query('select pg_sleep(0.1)')))
    await pool.end()
    expect(gateway.stats().distinctTokens).toBe(before + 1)
  })
})

it('redshift() calls the API of the gateway because of AWS_ENDPOINT_URL', async () => {
  process.env['AWS_ENDPOINT_URL'] = gateway.awsEndpointUrl
  const options: RedshiftOptions = {
    credentials: { ...BOB },
    database: 'dev',
    connectTo: { host: gateway.host, port: gateway.port },
    tls: { ca: gateway.ca },
  }
  expect(await userOf(redshift({ ...options, host: CLUSTER }))).toBe('IAMR:bob')
  expect(await userOf(redshift({ ...options, host: WORKGROUP }))).toBe('IAMR:bob')
})

describe('a password of Redshift', () => {
  it('is valid as long as it was asked for, and is refused afterwards as expired', async () => {
    const given = await clusterPassword({ DurationSeconds: 1_800 })
    const life = given.Expiration!.getTime() - Date.now()
    expect(life).toBeGreaterThan(29 * MINUTE_MS)
    expect(life).toBeLessThanOrEqual(30 * MINUTE_MS)
    now = () => Date.now() + 29 * MINUTE_MS
    expect(await logIn(given)).toBe('IAMR:alice')
    now = () => Date.now() + 31 * MINUTE_MS
    await refusal(logIn(given), 'token-expired')
  })

  it('is one of several that are valid at once', async () => {
    const [first, second] = [await clusterPassword(), await clusterPassword()]
    expect(first.DbPassword).not.toBe(second.DbPassword)
    expect(await logIn(first)).toBe('IAMR:alice')
    expect(await logIn(second)).toBe('IAMR:alice')
  })

  it('is for the database that it was asked for', async () => {
    await refusal(logIn(await clusterPassword({ DbName: 'sales' })), 'database-wrong')
    expect(await logIn(await clusterPassword({ DbName: 'dev' }))).toBe('IAMR:alice')
  })

  it('is for the cluster that it was asked for', async () => {
    const given = await clusterPassword({ cluster: 'stock' })
    await refusal(logIn(given), 'host-wrong')
    expect(await logIn(given, { host: SECOND })).toBe('IAMR:alice')
    expect(await logIn(given, { host: 'localhost' }).catch((error: Error) => error.message)).toBe(
      'the TLS handshake has a server name that matches no endpoint',
    )
  })

  it('is refused by another endpoint', async () => {
    const given = await clusterPassword()
    await clusterPassword({
      cluster: 'other',
      region: 'us-east-1',
      credentials: await credentialsOfOther(),
    })
    await refusal(logIn(given, { host: OTHER }), 'password-wrong')
  })

  it('is for its user', async () => {
    const { DbPassword } = await clusterPassword()
    await clusterPassword({ credentials: { ...BOB } })
    await refusal(logIn({ DbUser: 'IAMR:bob', DbPassword }), 'password-wrong')
    await refusal(logIn({ DbUser: 'IAMR:nobody', DbPassword }), 'password-unknown')
  })

  it('is refused with the text of Redshift if it is wrong', async () => {
    await clusterPassword()
    await expect(logIn({ DbUser: 'IAMR:alice', DbPassword: 'wrong' })).rejects.toMatchObject({
      code: '28000',
      message: 'password authentication failed for user "IAMR:alice"',
    })
  })

  it('remains valid when the access key that requested it is revoked', async () => {
    const issued = gateway.issueCredentials({ host: CLUSTER })
    const given = await clusterPassword({ credentials: issued })
    expect(gateway.revokeCredentials(issued.accessKeyId)).toBe(true)
    expect(await logIn(given)).toBe('IAMR:alice')
    await expect(clusterPassword({ credentials: issued })).rejects.toMatchObject({
      name: 'InvalidClientTokenId',
    })
  })

  it('logs in the user that GetClusterCredentials names, and for a workgroup the user of the role', async () => {
    const { credentials } = gateway
    const to = { region: 'eu-west-1', credentials, endpoint: gateway.awsEndpointUrl! }
    const chosen = new GetClusterCredentialsCommand({
      ClusterIdentifier: 'shop',
      DbUser: 'reporter',
    })
    expect(await logIn(await new RedshiftClient(to).send(chosen))).toBe('IAM:reporter')
    const serverless = new GetCredentialsCommand({ workgroupName: 'shop-wg' })
    const { dbUser, dbPassword } = await new RedshiftServerlessClient(to).send(serverless)
    expect(await logIn({ DbUser: dbUser, DbPassword: dbPassword }, { host: WORKGROUP })).toBe(
      'IAMR:alice',
    )
  })

  it('is never in the log', async () => {
    const { DbPassword } = await clusterPassword()
    expect(JSON.stringify(log.lines)).not.toContain(DbPassword)
    expect(JSON.stringify(log.lines)).not.toContain(BOB.secretAccessKey)
  })
})

/** The credentials of the first user of the other endpoint. */
async function credentialsOfOther(): Promise<GatewayCredentials> {
  return gateway.issueCredentials({ host: OTHER })
}

it('a client without TLS gets the error of Redshift', async () => {
  const { host, port } = gateway
  const client = new Client({ host, port, user: 'IAMR:alice', database: 'dev', password: 'x' })
  await expect(client.connect()).rejects.toMatchObject({
    code: '28000',
    message: expect.stringContaining('no pg_hba.conf entry for host') as string,
  })
})

it('more than 1,000 valid passwords of a user are throttled, until the others expire', () => {
  let at = Date.UTC(2026, 0, 1)
  const key = { accessKeyId: 'AKIDALICE', secretAccessKey: 'secret', roles: ['IAMR:alice'] }
  const { passwords } = createRedshiftPasswords({
    principals: createPrincipals([key]),
    regions: new Map([[CLUSTER, 'eu-west-1']]),
    clock: () => at,
  })
  const issue = (user = 'IAMR:alice'): unknown =>
    passwords.issue({
      ...{ user, host: CLUSTER, database: undefined },
      ...{ accessKeyId: 'AKIDALICE', durationSecs: 900 },
    })
  for (let count = 0; count < 1_000; count++) expect(issue()).toBeDefined()
  expect(issue()).toBeUndefined()
  expect(issue('IAMR:bob')).toBeDefined()
  at += 900_000
  expect(issue()).toBeDefined()
})

describe('the options of a redshift endpoint', () => {
  const USER = { roleArn: 'arn:aws:iam::111122223333:role/alice' }
  const ENTRY = { provider: 'redshift' as const, hosts: [CLUSTER], users: [USER] }
  const check = (own: object): unknown => endpointOptions({ ...ENTRY, ...own }, 'endpoints[0]')
  const named = (option: string, text: string): string => `"endpoints[0].${option}" ${text}`

  it('are returned as they are given', () => {
    expect(check({})).toEqual(ENTRY)
    const users = [{ ...USER, ...BOB, subject: 'alice', dbUsers: ['reporter'] }]
    expect(check({ users })).toEqual({ ...ENTRY, users })
  })

  it.each<[own: object, message: string]>([
    [{ users: undefined }, named('users', 'must be given, got undefined')],
    [{ users: [] }, named('users', 'must be an array of at least one user, got an array of 0')],
    [{ users: ['alice'] }, named('users[0]', 'must be an object, got "alice"')],
    [{ users: [{}] }, named('users[0].roleArn', 'must be given, got undefined')],
    [
      { users: [{ roleArn: 'arn:aws:iam::111122223333:user/alice' }] },
      named(
        'users[0].roleArn',
        'must be the ARN of an IAM role, got "arn:aws:iam::111122223333:user/alice"',
      ),
    ],
    [
      { users: [{ roleArn: `arn:aws:iam::111122223333:role/${'a'.repeat(59)}` }] },
      named(
        'users[0].roleArn',
        'must be the ARN of a role with a name of at most 58 characters, got a string of 90 characters',
      ),
    ],
    [
      { users: [{ ...USER, secretAccessKey: 5 }] },
      named('users[0].secretAccessKey', 'must be a non-empty string'),
    ],
    [
      { users: [{ ...USER, secretAccessKey: 'secret' }] },
      '"endpoints[0].users[0].accessKeyId" and "endpoints[0].users[0].secretAccessKey" must be given together',
    ],
    [
      { users: [USER, USER] },
      named('users[1].roleArn', 'must not be the same as that of another user'),
    ],
    [
      {
        users: [
          { ...USER, ...BOB },
          { roleArn: `${USER.roleArn}2`, ...BOB },
        ],
      },
      named('users[1].accessKeyId', 'must not be the same as that of another user'),
    ],
    [
      { users: [{ ...USER, dbUsers: 'reporter' }] },
      named('users[0].dbUsers', 'must be an array of database users, got "reporter"'),
    ],
    [
      { users: [{ ...USER, dbUsers: ['public'] }] },
      named(
        'users[0].dbUsers[0]',
        'must be the name of a database user: 1 to 58 letters, digits and _+.@-, a letter first, got "public"',
      ),
    ],
    [{ users: [{ ...USER, role: 'x' }] }, named('users[0].role', 'is not a known option')],
    [
      { hosts: ['*.example.com'] },
      named('hosts[0]', 'must be a host name without scheme, port or path, got "*.example.com"'),
    ],
    [
      { hosts: [DOMAIN] },
      named(
        'region',
        `must be given for "${DOMAIN}", whose name contains no region, got undefined`,
      ),
    ],
    [{ region: 'Ireland' }, named('region', 'must be the name of an AWS region, got "Ireland"')],
  ])('are refused if they are %j', (own, message) => {
    expect(thrownBy(() => check(own))).toMatchObject({ message })
  })

  it('are refused by iamAuth(), which has no API', () => {
    expect(thrownBy(() => iamAuth(ENTRY))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: '"endpoint.provider" must not be "redshift"',
    })
  })

  it('need access keys if others than this machine may connect', async () => {
    const { privateKey: key, certificate: cert } = await createCertificates([CLUSTER])
    const tls = { key, cert }
    const start = startGateway({ host: '0.0.0.0', tls, endpoints: [ENTRY] })
    await expect(start).rejects.toMatchObject({ code: 'ERR_OPTION_CONFLICT' })
  })
})
