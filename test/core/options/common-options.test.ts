import { auroraDsql } from '../../../core/index.js'
import { createAuroraDsql } from '../../../core/providers/aurora-dsql.js'
import { environmentDefaults, oneName } from '../../../core/options/common-options.js'
import { thrownBy } from '../support/caught.js'
import { createAuthority } from '../support/certificates.js'

describe('environmentDefaults', () => {
  it('reads the variables of libpq', async () => {
    const { ca } = await createAuthority()
    expect(
      environmentDefaults({
        PGHOST: 'DB.example.com',
        PGPORT: '5433',
        PGDATABASE: 'shop',
        PGUSER: 'app',
        PGSSLROOTCERT: ca,
        PGPASSWORD: 'not read',
      }),
    ).toEqual({ host: 'db.example.com', port: 5433, database: 'shop', user: 'app', ca })
  })

  it('treats empty variables as unset', () => {
    const names = ['PGHOST', 'PGPORT', 'PGDATABASE', 'PGUSER', 'PGSSLROOTCERT', 'PGSSLMODE']
    expect(environmentDefaults(Object.fromEntries(names.map((name) => [name, ''])))).toEqual({})
  })

  it('uses the CAs of Node if PGSSLROOTCERT is "system"', () => {
    expect(environmentDefaults({ PGSSLROOTCERT: 'system' })).toEqual({})
  })

  it.each([
    [
      'PGHOST',
      '/var/run/postgresql',
      'a host name without scheme, port or path, got "/var/run/postgresql"',
    ],
    ['PGPORT', 'five', 'an integer from 1 to 65535, got "five"'],
    ['PGUSER', 'a\nb', 'a non-empty string without control characters, got "a\\nb"'],
    ['PGDATABASE', '\0', 'a non-empty string without control characters, got "\\u0000"'],
    [
      'PGSSLROOTCERT',
      '/no/such/file',
      'PEM text or the path of a PEM file, and the file could not be read',
    ],
  ])('names the variable %s in the error for an invalid value', (name, value, rest) => {
    expect(() => environmentDefaults({ [name]: value })).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_INVALID', message: `"${name}" must be ${rest}` }),
    )
  })

  it('ignores a variable if its option is given', () => {
    const env = {
      PGHOST: '/tmp',
      PGPORT: 'x',
      PGDATABASE: '\n',
      PGUSER: '\n',
      PGSSLROOTCERT: '/no/such/file',
    }
    const given = { host: 'h', port: 1, database: 'd', user: 'u', ca: 'pem' }
    expect(environmentDefaults(env, given)).toEqual({})
  })

  it.each(['disable', 'allow', 'prefer', 'no-verify', 'verify-fulll'])(
    'rejects PGSSLMODE=%s',
    (mode) => {
      expect(() => environmentDefaults({ PGSSLMODE: mode })).toThrow(
        expect.objectContaining({
          code: 'ERR_TLS_UNVERIFIED',
          message: `"PGSSLMODE" must not be "${mode}": a token is only sent over verified TLS`,
        }),
      )
    },
  )

  it('reads the variables for session and connection settings', () => {
    expect(
      environmentDefaults({
        PGHOST: 'a.example.com,b.example.com',
        PGPORT: '5433,5433',
        PGAPPNAME: 'web',
        PGOPTIONS: '-c search_path=x',
        PGCONNECT_TIMEOUT: '1',
        PGSSLNEGOTIATION: 'direct',
        PGSSLMINPROTOCOLVERSION: 'TLSv1.1',
        PGSSLMAXPROTOCOLVERSION: 'TLSv1.2',
      }),
    ).toEqual({
      host: ['a.example.com', 'b.example.com'],
      port: 5433,
      applicationName: 'web',
      commandLine: '-c search_path=x',
      connectTimeoutMs: 2_000,
      negotiation: 'direct',
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
    })
  })

  it.each([
    ['PGCHANNELBINDING', 'require'],
    ['PGGSSENCMODE', 'require'],
    ['PGREQUIREAUTH', 'scram-sha-256'],
    ['PGTARGETSESSIONATTRS', 'primary'],
    ['PGLOADBALANCEHOSTS', 'random'],
    ['PGSSLSNI', '0'],
    ['PGSSLCERTMODE', 'require'],
    ['PGMINPROTOCOLVERSION', '3.2'],
    ['PGSSLMAXPROTOCOLVERSION', 'TLSv1.1'],
    ['PGCONNECT_TIMEOUT', 'soon'],
    ['PGPORT', '5432,5433'],
    ['PGAPPNAME', 'web\0user\0admin'],
    ['PGOPTIONS', '-c a=b\0user\0admin'],
  ])('rejects %s=%j with an error that names the variable', (name, value) => {
    expect(() => environmentDefaults({ [name]: value })).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(new RegExp(`^"${name}" must be`)),
      }),
    )
  })

  it.each([
    ['PGCHANNELBINDING', 'prefer'],
    ['PGGSSENCMODE', 'disable'],
    ['PGTARGETSESSIONATTRS', 'any'],
    ['PGLOADBALANCEHOSTS', 'disable'],
    ['PGSSLSNI', '1'],
    ['PGMAXPROTOCOLVERSION', 'latest'],
  ])('accepts %s=%s, which requests the existing behaviour', (name, value) => {
    expect(environmentDefaults({ [name]: value })).toEqual({})
  })

  it.each(['require', 'verify-ca', 'verify-full'])('accepts PGSSLMODE=%s', (mode) => {
    expect(environmentDefaults({ PGSSLMODE: mode })).toEqual({})
  })
})

describe('oneName', () => {
  it.each([
    [{ user: 'a' }, 'a'],
    [{ username: 'a' }, 'a'],
    [{ user: 'a', username: 'a' }, 'a'],
    [{ user: undefined, username: 'a' }, 'a'],
    [{}, undefined],
  ])('returns for %j: %j', (options, value) => {
    expect(oneName(options, 'user', 'username')).toBe(value)
  })

  it('rejects an option and its alias with different values', () => {
    expect(() => oneName({ user: 'a', username: 'b' }, 'user', 'username')).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_CONFLICT',
        message: '"user" and "username" must not differ',
        hint: 'Give only "user".',
      }),
    )
  })
})

describe('an option of a client or a signer among the options of a login', () => {
  it.each([
    ['password', 'token'],
    ['ssl', 'tls: { ca }'],
    ['application_name', 'startupParameters'],
    ['max', "client's options"],
    ['hostname', '"host"'],
    ['constructor', 'Known options:'],
    ['connectionString', 'loginFromUrl'],
    ['expiresIn', 'tokenDurationSecs'],
  ])('is rejected with a hint about where it belongs: %s', (name, hint) => {
    const options = {
      host: 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws',
      user: 'app',
      [name]: 'x',
    }
    expect(thrownBy(() => auroraDsql(options))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: `"${name}" is not a known option`,
      hint: expect.stringContaining(hint),
    })
  })
})

describe('PG_IAM_CONNECT_TO', () => {
  const dsql = (env: Record<string, string>, own: object = {}): unknown =>
    createAuroraDsql({ host: 'a'.repeat(26) + '.dsql.us-east-1.on.aws', user: 'app', ...own }, env)
      .connectTo

  it('is the address that a login dials unless it is given one', () => {
    const env = { PG_IAM_CONNECT_TO: '127.0.0.1:54320' }
    expect(dsql(env)).toEqual({ host: '127.0.0.1', port: 54320 })
    expect(dsql({ PG_IAM_CONNECT_TO: '[::1]:6432' })).toEqual({ host: '::1', port: 6432 })
    expect(dsql(env, { connectTo: { host: 'tunnel', port: 1 } })).toEqual({
      host: 'tunnel',
      port: 1,
    })
    expect(dsql({ PG_IAM_CONNECT_TO: '' })).toBeUndefined()
  })

  it.each(['db.example.com:5432', '127.0.0.1', '192.0.2.1:5432', '127.0.0.1:0', 'localhost:x'])(
    'must not be %s, which is no loopback address with a port',
    (value) => {
      expect(() => dsql({ PG_IAM_CONNECT_TO: value })).toThrow(
        expect.objectContaining({
          code: 'ERR_OPTION_INVALID',
          message: expect.stringMatching(/^"PG_IAM_CONNECT_TO" must be /),
        }),
      )
    },
  )
})
