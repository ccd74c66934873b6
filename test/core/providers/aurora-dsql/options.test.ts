import { auroraDsql, type AuroraDsqlOptions } from '../../../../core/index.js'
import { createAuroraDsql } from '../../../../core/providers/aurora-dsql/aurora-dsql.js'
import { thrownBy } from '../../support/caught.js'
import { CREDENTIALS, HOST, OPTIONS } from '../../support/dsql-options.js'
import { printed } from '../../support/printed.js'

const create = (options: object): unknown => createAuroraDsql(options, {})

describe('auroraDsql refuses at construction', () => {
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
    ['passwrod', 'Known are:'],
    ['password', 'Known are:'],
    ['hots', 'Did you mean "host"?'],
    ['userName', 'Did you mean "username"?'],
    ['tokenDuration', 'Did you mean "tokenDurationSecs"?'],
    ['credential', 'Did you mean "credentials"?'],
  ])('the unknown key "%s", with a hint, and without its value', (name, hint) => {
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
  ])('"%s" beside "%s"', (one, other, options, rest) => {
    expect(thrownBy(() => create({ ...OPTIONS, ...options }))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: `"${one}" and "${other}" ${rest}`,
      hint: expect.stringMatching(/^Give /),
    })
  })

  it('a region other than that of the host', () => {
    expect(thrownBy(() => create({ ...OPTIONS, region: 'eu-west-1' }))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: '"region" must be "us-east-1", as "host" says, got "eu-west-1"',
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
    '%p in the place of the options',
    (options) => {
      expect(thrownBy(() => auroraDsql(options as AuroraDsqlOptions))).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(/^"options" must be an object, got /),
      })
    },
  )
})
