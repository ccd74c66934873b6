import { dsqlRegion } from '../../../core/providers/host-names.js'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import {
  auroraDsql,
  type AuroraDsqlOptions,
  cloudSql,
  customLogin,
  entra,
  isPgIamError,
  type Login,
  type PgIamError,
  rds,
  redshift,
} from '../../../core/index.js'
import { createAuroraDsql, dsqlEndpoint, isClusterId } from '../../../core/providers/aurora-dsql.js'
import { thrownBy } from '../support/caught.js'
import { createAuthority } from '../support/certificates.js'
import { CLUSTER_ID, CREDENTIALS, HOST, OPTIONS, REGION } from '../support/dsql-options.js'
import { printed } from '../support/printed.js'

describe('auroraDsql', () => {
  it('has everything for a database login, with the defaults of Aurora DSQL', () => {
    expect(createAuroraDsql(OPTIONS, {})).toMatchObject({
      provider: 'aurora-dsql',
      host: HOST,
      port: 5432,
      database: 'postgres',
      user: 'app',
      region: REGION,
      tls: { rejectUnauthorized: true, servername: HOST, minVersion: 'TLSv1.2' },
      tlsNegotiation: 'direct',
      maxLifetimeSecs: 3_300,
    })
  })

  it('has the given options', async () => {
    const { ca } = await createAuthority()
    const login = createAuroraDsql(
      {
        host: 'db.example.com',
        port: 5433,
        database: 'shop',
        username: 'writer',
        region: 'eu-west-1',
        credentials: () => CREDENTIALS,
        connectTo: { host: '127.0.0.1', port: 6000 },
        tls: {
          ca,
          servername: 'other.example.com',
          negotiation: 'postgres',
          rejectUnauthorized: true,
        } as object,
        maxLifetimeSecs: 60,
        tokenDurationSecs: 604_800,
        reuseTokenSecs: 3_600,
        tokenTimeoutMs: 600_000,
      },
      {},
    )
    expect(login).toMatchObject({
      host: 'db.example.com',
      port: 5433,
      database: 'shop',
      user: 'writer',
      region: 'eu-west-1',
      connectTo: { host: '127.0.0.1', port: 6000 },
      tls: { rejectUnauthorized: true, servername: 'other.example.com', ca },
      tlsNegotiation: 'postgres',
      maxLifetimeSecs: 60,
    })
  })

  it('starts TLS directly, unless options or environment say otherwise', () => {
    const options = { host: HOST, user: 'app' }
    const variables = { PGSSLNEGOTIATION: 'postgres' }
    expect(createAuroraDsql(options, {}).tlsNegotiation).toBe('direct')
    expect(createAuroraDsql(options, variables).tlsNegotiation).toBe('postgres')
    expect(
      createAuroraDsql({ ...options, tls: { negotiation: 'direct' } }, variables).tlsNegotiation,
    ).toBe('direct')
  })

  it('takes defaults from the environment of the process', () => {
    const before = { ...process.env }
    try {
      Object.assign(process.env, { PGHOST: HOST, PGUSER: 'from-environment' })
      expect(auroraDsql()).toMatchObject({ host: HOST, user: 'from-environment' })
    } finally {
      process.env = before
    }
  })
})

describe('the host of auroraDsql', () => {
  it.each<[AuroraDsqlOptions, string, string]>([
    [{ host: HOST }, HOST, REGION],
    [{ host: HOST.toUpperCase() }, HOST, REGION],
    [{ host: `${HOST}.` }, HOST, REGION],
    [{ host: HOST, region: REGION }, HOST, REGION],
    [{ host: CLUSTER_ID, region: REGION }, HOST, REGION],
    [{ host: CLUSTER_ID.toUpperCase(), region: REGION }, HOST, REGION],
    [
      { host: `${CLUSTER_ID}.dsql-fnh4.eu-west-1.on.aws` },
      `${CLUSTER_ID}.dsql-fnh4.eu-west-1.on.aws`,
      'eu-west-1',
    ],
    [{ host: '10.0.0.1', region: 'eu-west-1' }, '10.0.0.1', 'eu-west-1'],
    [{ host: '::1', region: 'eu-west-1' }, '::1', 'eu-west-1'],
  ])('%j is %s in %s', (options, host, region) => {
    expect(createAuroraDsql({ user: 'app', ...options }, {})).toMatchObject({
      host,
      region,
      tls: { servername: host },
    })
  })

  it('is completed with the region of the environment if it is a cluster ID', () => {
    expect(createAuroraDsql({ host: CLUSTER_ID, user: 'app' }, { AWS_REGION: REGION }).host).toBe(
      HOST,
    )
    expect(
      createAuroraDsql({ user: 'app' }, { PGHOST: CLUSTER_ID, AWS_DEFAULT_REGION: REGION }).host,
    ).toBe(HOST)
  })

  it('takes precedence over a region of the environment', () => {
    for (const AWS_REGION of ['eu-west-1', 'no region']) {
      expect(createAuroraDsql({ host: HOST, user: 'app' }, { AWS_REGION }).region).toBe(REGION)
    }
  })

  it('is dialled at another host, with the same port, if connectTo has only a host', () => {
    const login = createAuroraDsql({ ...OPTIONS, port: 5433, connectTo: { host: 'Tunnel.' } }, {})
    expect(login.connectTo).toEqual({ host: 'tunnel', port: 5433 })
    expect(login.tls.servername).toBe(HOST)
  })
})

describe('options and environment', () => {
  const env = {
    PGHOST: 'abcdefghijklmnopqrstuvwx34.dsql.eu-west-1.on.aws',
    PGPORT: '6543',
    PGDATABASE: 'from_env',
    PGUSER: 'env_user',
  }

  it('are used in the order option, environment', () => {
    expect(createAuroraDsql({}, env)).toMatchObject({
      host: env.PGHOST,
      port: 6543,
      database: 'from_env',
      user: 'env_user',
      region: 'eu-west-1',
    })
    const given = { host: HOST, port: 5432, database: 'given', user: 'given_user' }
    expect(createAuroraDsql(given, env)).toMatchObject(given)
    expect(createAuroraDsql({ username: 'given_user' }, env).user).toBe('given_user')
  })

  it('do not conflict if a variable is not usable here', () => {
    const useless = {
      PGHOST: '/var/run/postgresql',
      PGPORT: 'x',
      PGDATABASE: '\n',
      PGUSER: '\n',
      AWS_REGION: 'no region',
    }
    const given = { host: HOST, port: 5432, database: 'given', username: 'given_user' }
    expect(createAuroraDsql(given, useless)).toMatchObject({ user: 'given_user', region: REGION })
  })

  it('determine the region in this order: option, AWS_REGION, AWS_DEFAULT_REGION', () => {
    const base = { host: 'db.example.com', user: 'app' }
    const all = { AWS_REGION: 'eu-west-1', AWS_DEFAULT_REGION: 'eu-west-2' }
    expect(createAuroraDsql({ ...base, region: 'eu-west-3' }, all).region).toBe('eu-west-3')
    expect(createAuroraDsql(base, all).region).toBe('eu-west-1')
    expect(createAuroraDsql(base, { ...all, AWS_REGION: '' }).region).toBe('eu-west-2')
  })

  it("determine the CA in this order: tls.ca, PGSSLROOTCERT, Node's", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pg-iam-ca-'))
    try {
      const [{ ca: ours }, { ca: theirs }] = await Promise.all([
        createAuthority(),
        createAuthority(),
      ])
      const path = join(folder, 'ca.pem')
      writeFileSync(path, theirs)
      expect(createAuroraDsql(OPTIONS, { PGSSLROOTCERT: path }).tls.ca).toBe(theirs)
      expect(
        createAuroraDsql({ ...OPTIONS, tls: { servername: 'x' } }, { PGSSLROOTCERT: path }).tls,
      ).toMatchObject({
        ca: theirs,
        servername: 'x',
      })
      expect(
        createAuroraDsql({ ...OPTIONS, tls: { ca: ours } }, { PGSSLROOTCERT: '/none' }).tls.ca,
      ).toBe(ours)
      expect(createAuroraDsql(OPTIONS, {}).tls).not.toHaveProperty('ca')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('reject a weak PGSSLMODE whatever the options', () => {
    expect(() => createAuroraDsql({ ...OPTIONS, tls: {} }, { PGSSLMODE: 'disable' })).toThrow(
      expect.objectContaining({ code: 'ERR_TLS_UNVERIFIED' }),
    )
  })

  it.each<[AuroraDsqlOptions, Record<string, string>, string]>([
    [{ user: 'app' }, {}, '"host" must be given'],
    [{ host: HOST }, {}, '"user" must be given'],
    [{ host: CLUSTER_ID, user: 'app' }, {}, '"region" must be given if "host" is a cluster ID'],
    [
      { host: 'db.example.com', user: 'app' },
      {},
      '"region" must be given if "host" does not contain it',
    ],
    [
      { host: 'db.example.com', user: 'app' },
      { AWS_REGION: 'mars' },
      '"AWS_REGION" must be the name of an AWS region, got "mars"',
    ],
    [
      { host: 'db.example.com', user: 'app' },
      { AWS_DEFAULT_REGION: 'mars' },
      '"AWS_DEFAULT_REGION" must be the name of an AWS region, got "mars"',
    ],
    [{ host: HOST }, { USER: 'root', LOGNAME: 'root' }, '"user" must be given'],
  ])('name the missing or invalid setting in %j with %j', (options, variables, message) => {
    expect(thrownBy(() => createAuroraDsql(options, variables))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message,
    })
  })
})

const ID = 'abcdefghijklmnopqrstuvwx12'

describe('dsqlRegion', () => {
  it.each([
    [`${ID}.dsql.us-east-1.on.aws`, 'us-east-1'],
    [`${ID}.dsql-fnh4.eu-central-1.on.aws`, 'eu-central-1'],
    [`${ID}.dsql.ap-southeast-2.on.aws`, 'ap-southeast-2'],
    [`${ID}.dsql.us-gov-west-1.on.aws`, 'us-gov-west-1'],
    ['localhost', undefined],
    ['127.0.0.1', undefined],
    [ID, undefined],
    [`${ID}.dsql.us-east-1.on.aws.example.com`, undefined],
    [`${ID}.dsql.us-east-1.on.awsx`, undefined],
    [`${ID}.dsqlx.us-east-1.on.aws`, undefined],
    [`${ID}.dsql-.us-east-1.on.aws`, undefined],
    [`evil.com/${ID}.dsql.us-east-1.on.aws`, undefined],
    [`a.b.dsql.us-east-1.on.aws`, undefined],
    [`.dsql.us-east-1.on.aws`, undefined],
    [`${ID}.dsql..on.aws`, undefined],
    ['mydb.123456789012.us-east-1.rds.amazonaws.com', undefined],
    [`${ID}.dsql.us-east-1.on.aws\n`, undefined],
  ])('returns for %s: %s', (host, region) => {
    expect(dsqlRegion(host)).toBe(region)
  })
})

describe('isClusterId', () => {
  it.each([
    [ID, true],
    ['a'.repeat(25), false],
    ['a'.repeat(27), false],
    ['A'.repeat(26), false],
    [`${'a'.repeat(25)}-`, false],
    [`${ID}\n`, false],
  ])('returns for %j: %s', (name, is) => {
    expect(isClusterId(name)).toBe(is)
  })
})

describe('dsqlEndpoint', () => {
  it('returns a name that dsqlRegion parses back to the region', () => {
    const ids = fc.string({
      unit: fc.constantFrom('a', 'b', 'z', '0', '9'),
      minLength: 26,
      maxLength: 26,
    })
    const regions = fc.constantFrom('us-east-1', 'eu-west-3', 'ap-northeast-1', 'us-gov-east-1')
    fc.assert(
      fc.property(ids, regions, (id, region) => dsqlRegion(dsqlEndpoint(id, region)) === region),
    )
  })
})

const create = (options: object): unknown => createAuroraDsql(options, {})

describe('auroraDsql rejects when the login is created', () => {
  it.each([
    ['host', 5, 'a host name without scheme, port or path, got 5'],
    [
      'host',
      `https://${HOST}`,
      'a host name without scheme, port or path, got "https://abcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws"',
    ],
    ['port', 0, 'an integer from 1 to 65535, got 0'],
    ['port', '54x', 'an integer from 1 to 65535, got "54x"'],
    ['database', '', 'a non-empty string without control characters, got ""'],
    ['database', 'a\0b', 'a non-empty string without control characters, got "a\\u0000b"'],
    ['user', null, 'a non-empty string without control characters, got null'],
    ['user', () => 'app', 'a non-empty string without control characters, got a function'],
    ['username', ['app'], 'a non-empty string without control characters, got an array of 1'],
    ['region', 'us_east_1', 'the name of an AWS region, got "us_east_1"'],
    ['region', 'US-EAST-1', 'the name of an AWS region, got "US-EAST-1"'],
    ['region', '', 'the name of an AWS region, got ""'],
    ['profile', '', 'a non-empty string without control characters, got ""'],
    ['tokenDurationSecs', 0, 'an integer of seconds from 1 to 604800, got 0'],
    ['tokenDurationSecs', 604_801, 'an integer of seconds from 1 to 604800, got 604801'],
    ['tokenDurationSecs', 1.5, 'an integer of seconds from 1 to 604800, got 1.5'],
    ['tokenDurationSecs', '900', 'an integer of seconds from 1 to 604800, got "900"'],
    ['reuseTokenSecs', -1, 'a number of seconds from 0 to 3600, got -1'],
    ['reuseTokenSecs', 3_601, 'a number of seconds from 0 to 3600, got 3601'],
    ['tokenTimeoutMs', 0, 'an integer of milliseconds from 1 to 600000, got 0'],
    ['tokenTimeoutMs', Infinity, 'an integer of milliseconds from 1 to 600000, got Infinity'],
    ['maxLifetimeSecs', 0, 'a number of seconds from 1 to 604800, got 0'],
    ['maxLifetimeSecs', NaN, 'a number of seconds from 1 to 604800, got NaN'],
    ['connectTo', 'localhost:5432', 'an object, got "localhost:5432"'],
    ['connectTo', null, 'an object, got null'],
    ['tls', true, 'an object such as { ca }, got true'],
    ['tls', null, 'an object such as { ca }, got null'],
    [
      'credentials',
      'AKIA',
      'AWS credentials or a function that returns them, got a string of 4 characters',
    ],
    [
      'credentials',
      [CREDENTIALS],
      'AWS credentials or a function that returns them, got an array of 1',
    ],
    ['customCredentialsProvider', CREDENTIALS, 'a function, got an object'],
    [
      'assumeRole',
      'arn:aws:iam::123456789012:role/app',
      'an object, got "arn:aws:iam::123456789012:role/app"',
    ],
  ])('"%s": %p', (name, value, rest) => {
    const { credentials: _unused, ...options } = OPTIONS
    expect(thrownBy(() => create({ ...options, [name]: value }))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: `"${name}" must be ${rest}`,
      retryable: false,
    })
  })

  it.each([
    ['connectTo', { port: 1 }, '"connectTo.host" must be given'],
    [
      'connectTo',
      { host: 'a b' },
      '"connectTo.host" must be a host name without scheme, port or path, got "a b"',
    ],
    [
      'connectTo',
      { host: 'a', port: -1 },
      '"connectTo.port" must be an integer from 1 to 65535, got -1',
    ],
    ['connectTo', { host: 'a', hots: 1 }, '"connectTo.hots" is not a known option'],
    [
      'tls',
      { servername: '' },
      '"tls.servername" must be a host name without scheme, port or path, got ""',
    ],
    [
      'tls',
      { negotiation: 'starttls' },
      '"tls.negotiation" must be "postgres" or "direct", got "starttls"',
    ],
    ['tls', { ca: 5 }, '"tls.ca" must be PEM text or the path of a PEM file, got 5'],
    ['tls', { cert: 'x' }, '"tls.cert" is not a known option'],
    [
      'credentials',
      {},
      '"credentials.accessKeyId" must be a non-empty string without control characters, got undefined',
    ],
    [
      'credentials',
      { accessKeyId: 'AKIA' },
      '"credentials.secretAccessKey" must be a non-empty string without control characters, got undefined',
    ],
    [
      'credentials',
      { ...CREDENTIALS, secretAccessKey: 'short\n' },
      '"credentials.secretAccessKey" must be a non-empty string without control characters, got a string of 6 characters',
    ],
    [
      'credentials',
      { ...CREDENTIALS, sessionToken: '' },
      '"credentials.sessionToken" must be a non-empty string without control characters, got an empty string',
    ],
    [
      'credentials',
      { ...CREDENTIALS, expiration: '2030-01-01T00:00:00Z' },
      '"credentials.expiration" must be a valid Date, got a string of 20 characters',
    ],
    [
      'credentials',
      { ...CREDENTIALS, expiration: new Date(NaN) },
      '"credentials.expiration" must be a valid Date, got an invalid Date',
    ],
    ['assumeRole', {}, '"assumeRole.roleArn" must be the ARN of a role, got undefined'],
    ['assumeRole', { roleArn: 'app' }, '"assumeRole.roleArn" must be the ARN of a role, got "app"'],
    ['assumeRole', { roleARN: 'app' }, '"assumeRole.roleARN" is not a known option'],
    ...(
      [
        ['externalId', 'a', '2 to 1224 letters, digits or +=,.@:/-, got "a"'],
        ['sessionName', 'a b', '2 to 64 letters, digits or +=,.@-, got "a b"'],
        ['durationSecs', 899, 'an integer of seconds from 900 to 43200, got 899'],
        ['durationSecs', 43_201, 'an integer of seconds from 900 to 43200, got 43201'],
      ] as const
    ).map(([name, value, rest]) => [
      'assumeRole',
      { roleArn: 'arn:aws:iam::123456789012:role/app', [name]: value },
      `"assumeRole.${name}" must be ${rest}`,
    ]),
  ] as [string, object, string][])('inside "%s": %p', (name, value, message) => {
    const { credentials: _unused, ...options } = OPTIONS
    expect(thrownBy(() => create({ ...options, [name]: value }))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message,
    })
  })

  it.each([
    ['passwrod', 'Known options:'],
    ['colour', 'Known options:'],
    ['hots', 'Did you mean "host"?'],
    ['userName', 'Did you mean "username"?'],
    ['tokenDuration', 'Did you mean "tokenDurationSecs"?'],
    ['credential', 'Did you mean "credentials"?'],
  ])('the unknown key "%s", with a hint, and without showing its value', (name, hint) => {
    const error = thrownBy(() => create({ ...OPTIONS, [name]: 'CANARY' }))
    expect(error).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: `"${name}" is not a known option`,
      hint: expect.stringContaining(hint),
    })
    expect(printed(error)).not.toContain('CANARY')
  })

  it.each([
    ['user', 'username', { user: 'a', username: 'b' }, 'must not differ'],
    ['credentials', 'profile', { profile: 'dev' }, 'must not be given together'],
    [
      'credentials',
      'customCredentialsProvider',
      { customCredentialsProvider: () => CREDENTIALS },
      'must not be given together',
    ],
    [
      'customCredentialsProvider',
      'profile',
      { credentials: undefined, customCredentialsProvider: () => CREDENTIALS, profile: 'dev' },
      'must not be given together',
    ],
  ])('"%s" together with "%s"', (one, other, options, rest) => {
    expect(thrownBy(() => create({ ...OPTIONS, ...options }))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: `"${one}" and "${other}" ${rest}`,
      hint: expect.stringMatching(/^Give /),
    })
  })

  it('a region that differs from that of the host', () => {
    expect(thrownBy(() => create({ ...OPTIONS, region: 'eu-west-1' }))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: '"region" must be "us-east-1", as in "host", got "eu-west-1"',
    })
  })

  it.each([
    [{ rejectUnauthorized: false }],
    [{ rejectUnauthorized: 0 }],
    [{ rejectUnauthorized: null }],
    [{ rejectUnauthorized: 'true' }],
    [{ checkServerIdentity: () => undefined }],
    [false],
    ['disable'],
    ['allow'],
    ['prefer'],
    ['require'],
    ['no-verify'],
  ])('the weak tls %p', (tls) => {
    expect(thrownBy(() => create({ ...OPTIONS, tls }))).toMatchObject({
      code: 'ERR_TLS_UNVERIFIED',
      message: '"tls" must not turn TLS or its verification off',
    })
  })

  it.each([null, 5, 'postgres://', [], new Map(), () => ({})])(
    '%p in place of the options',
    (options) => {
      expect(thrownBy(() => auroraDsql(options as AuroraDsqlOptions))).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(/^"options" must be an object, got /),
      })
    },
  )
})

/** All options, as listed in the error for an unknown one. */
const NAMES = /^Known options: (.*)\.$/
  .exec(
    (
      thrownBy(() =>
        createAuroraDsql({ 'no such option': 1 } as AuroraDsqlOptions, {}),
      ) as PgIamError
    ).hint ?? '',
  )![1]!
  .split(', ')
const CODES = ['ERR_OPTION_INVALID', 'ERR_OPTION_CONFLICT', 'ERR_TLS_UNVERIFIED']

/** Any value, and often one that resembles a valid one. */
const anything = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withNullPrototype: true,
  }),
  fc.func(fc.anything()),
  fc.constantFrom<unknown>(
    Symbol('s'),
    new Proxy({}, {}),
    Promise.resolve(),
    /x/,
    Buffer.from('x'),
    new Error('x'),
  ),
  fc.record(
    {
      host: fc.anything(),
      port: fc.anything(),
      ca: fc.anything(),
      servername: fc.anything(),
      negotiation: fc.anything(),
      rejectUnauthorized: fc.anything(),
      roleArn: fc.anything(),
      accessKeyId: fc.anything(),
      secretAccessKey: fc.anything(),
      sessionToken: fc.anything(),
      expiration: fc.anything(),
    },
    { requiredKeys: [] },
  ),
)

function attempt(options: object, env: Record<string, string> = {}): Login | Error {
  try {
    return createAuroraDsql(options, env)
  } catch (error) {
    return error as Error
  }
}

describe('auroraDsql given anything', () => {
  it('has all options that this test covers', () => {
    expect(NAMES).toEqual(
      expect.arrayContaining(['host', 'port', 'database', 'user', 'tls', 'credentials']),
    )
  })

  it('creates a login or throws one of three codes, for any value of any option', () => {
    fc.assert(
      fc.property(fc.constantFrom(...NAMES), anything, (name, value) => {
        const { credentials: _unused, ...options } = OPTIONS
        const result = attempt({ ...options, [name]: value })
        if (!(result instanceof Error)) return
        expect(isPgIamError(result) && CODES.includes(result.code)).toBe(true)
        // The message names the option, and is one line that fits in a log.
        expect(result.message).toMatch(new RegExp(`^"(${name}|user|region)(\\[\\d+\\])?[".]`))
        expect(result.message).not.toContain('\n')
      }),
      { numRuns: 2_000 },
    )
  })

  it('creates a login or throws one of three codes, for any keys and any environment', () => {
    const variable = fc.constantFrom(
      'PGHOST',
      'PGPORT',
      'PGDATABASE',
      'PGUSER',
      'PGSSLROOTCERT',
      'PGSSLMODE',
      'AWS_REGION',
      'AWS_DEFAULT_REGION',
      'AWS_PROFILE',
    )
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), anything),
        fc.dictionary(variable, fc.string()),
        (options, env) => {
          const result = attempt(options, env)
          if (result instanceof Error) {
            expect(isPgIamError(result) && CODES.includes(result.code)).toBe(true)
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it('never changes its arguments', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('connectTo', 'tls', 'assumeRole', 'credentials'),
        fc.object(),
        (name, value) => {
          const before = structuredClone(value)
          attempt({ ...OPTIONS, credentials: undefined, [name]: value })
          expect(value).toEqual(before)
        },
      ),
    )
  })

  const SECRET = 'CANARY/bPxRfiCYEXAMPLEKEY+wJalrXUtnFEMI7'
  const secretValues = [
    SECRET,
    `${SECRET}\n`,
    `postgres://app:${SECRET}@h/db`,
    `app:CANARY@h`,
    `password=CANARY`,
    `x?X-Amz-Signature=CANARY`,
    'eyJCANARY.a.b',
    `-----BEGIN PRIVATE KEY-----CANARY`,
  ]

  it.each(NAMES)('exposes no secret that was given as "%s" by mistake', (name) => {
    for (const value of [
      ...secretValues,
      ...secretValues.map((text) => [text]),
      { [name]: SECRET },
    ]) {
      const result = attempt({ ...OPTIONS, credentials: undefined, [name]: value })
      if (result instanceof Error) expect(printed(result)).not.toContain('CANARY')
    }
  })

  it.each(['accessKeyId', 'secretAccessKey', 'sessionToken', 'expiration'])(
    'exposes no part of the credentials if "%s" is invalid, however short it is',
    (name) => {
      const right = { accessKeyId: 'CANARY', secretAccessKey: 'CANARY', sessionToken: 'CANARY' }
      for (const value of ['CANARY\n', '', 5, null, ['CANARY']]) {
        const result = attempt({ ...OPTIONS, credentials: { ...right, [name]: value } })
        expect(result).toBeInstanceOf(Error)
        expect(printed(result)).not.toContain('CANARY')
      }
    },
  )
})

describe('the host of a login', () => {
  const credentials = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'secret' }
  const LOGINS = {
    auroraDsql: (host: string) => auroraDsql({ host, user: 'app', credentials }),
    rds: (host: string) => rds({ host, user: 'app', credentials }),
    redshift: (host: string) => redshift({ host, credentials }),
    entra: (host: string) => entra({ host, user: 'app' }),
    cloudSql: (host: string) => cloudSql({ host, user: 'app' }),
  }
  const HOSTS: [provider: keyof typeof LOGINS, host: string][] = [
    ['auroraDsql', 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'],
    ['auroraDsql', 'abcdefghijklmnopqrstuvwxyz.dsql-fnh4.us-east-1.on.aws'],
    ['rds', 'shop.cluster-c1a2b3c4d5e6.us-east-1.rds.amazonaws.com'],
    ['rds', 'shop.c1a2b3c4d5e6.rds.cn-north-1.amazonaws.com.cn'],
    ['rds', 'shop.c1a2b3c4d5e6.us-iso-east-1.rds.c2s.ic.gov'],
    ['rds', 'shop.global-c1a2b3c4d5e6.global.rds.amazonaws.com'],
    ['redshift', 'shop.c1a2b3c4d5e6.us-east-1.redshift.amazonaws.com'],
    ['redshift', 'default-wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com'],
    ['entra', 'shop.postgres.database.azure.com'],
    ['entra', 'shop.privatelink.postgres.database.usgovcloudapi.net'],
    ['cloudSql', 'abc.def.europe-west1.sql.goog'],
    ['cloudSql', 'abc.def.europe-west1.sql-psa.goog'],
  ]
  const names = Object.keys(LOGINS) as (keyof typeof LOGINS)[]
  const pairs = names.flatMap((name) =>
    HOSTS.flatMap(([other, host]) => (name === other ? [] : [[name, other, host] as const])),
  )

  it.each(pairs)('is rejected by %s() if it is one of %s(): %s', (name, other, host) => {
    expect(thrownBy(() => LOGINS[name](host))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: `"host" must not be ${host}: ${name}() cannot log in there`,
      hint: expect.stringContaining(`Use ${other}()`),
    })
  })

  it.each<[keyof typeof LOGINS, string]>([
    ['rds', 'shop.postgres.cosmos.azure.com'],
    ['entra', 'shop.us-east-1.rds.amazonaws.com'],
    ['entra', 'shop.rds.us-east-1.amazonaws.com'],
    ['entra', 'shop.redshift.amazonaws.com'],
    ['rds', 'a.b.c.dsql.us-east-1.on.aws'],
  ])('is rejected by %s() if it is in the domain of another provider: %s', (name, host) => {
    expect(thrownBy(() => LOGINS[name](host))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: `"host" must not be ${host}: ${name}() cannot log in there`,
    })
  })

  it.each(HOSTS)('is accepted by %s(), and by customLogin(): %s', (name, host) => {
    expect(LOGINS[name](host).host).toBe(host)
    expect(customLogin({ host, user: 'app', getToken: () => 'secret' }).host).toBe(host)
  })
})
