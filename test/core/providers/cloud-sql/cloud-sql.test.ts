import { isCloudSqlHost } from '../../../../core/providers/host-names.js'
import {
  cloudSql,
  type CloudSqlOptions,
  loginFromEnv,
  loginFromUrl,
} from '../../../../core/index.js'
import { createCloudSql } from '../../../../core/providers/cloud-sql/cloud-sql.js'
import { databaseUser } from '../../../../core/providers/cloud-sql/token.js'
import { thrownBy } from '../../support/caught.js'
import { printed } from '../../support/printed.js'

const HOST = '1a23b4c5d67e.2s8t1qqyvjq7l.us-central1.sql.goog'
const surroundings = process.env
beforeEach(() => {
  process.env = {}
})
afterEach(() => {
  process.env = surroundings
})

describe('isCloudSqlHost', () => {
  it.each([
    [HOST, true],
    ['1a23b4c5d67e.2s8t1qqyvjq7l.us-central1.sql-psa.goog', true],
    ['1a23b4c5d67e.2s8t1qqyvjq7l.global.sql-psa.goog', true],
    ['sql.goog', false],
    ['.sql.goog', false],
    ['x..sql.goog', false],
    [`${HOST}.example.com`, false],
    ['xsql.goog', false],
    ['10.0.0.3', false],
    ['shop:us-central1:orders', false],
  ])('returns for %s: %s', (host, is) => {
    expect(isCloudSqlHost(host)).toBe(is)
  })
})

describe('databaseUser', () => {
  it.each([
    ['app@shop.iam.gserviceaccount.com', 'app@shop.iam'],
    ['123-compute@developer.gserviceaccount.com', '123-compute@developer'],
    ['app@shop.iam', 'app@shop.iam'],
    ['jane@example.com', 'jane@example.com'],
    ['x@y.gserviceaccount.com.example.com', 'x@y.gserviceaccount.com.example.com'],
  ])('returns for %s: %s', (email, user) => {
    expect(databaseUser(email)).toBe(user)
  })
})

describe('a connection name in place of the host', () => {
  it.each(['shop:europe-west1:main', 'example.com:shop:europe-west1:main'])(
    'is rejected with a hint for the "instance" option, also as the socket path of %s',
    (instance) => {
      for (const host of [instance, `/cloudsql/${instance}`]) {
        const refusal = {
          code: 'ERR_OPTION_INVALID',
          message:
            '"host" must be the IP address or the DNS name of the instance, got its connection name',
          hint: expect.stringContaining(`instance: "${instance}"`),
        }
        expect(thrownBy(() => cloudSql({ host }))).toMatchObject(refusal)
        expect(thrownBy(() => createCloudSql({}, { PGHOST: host }))).toMatchObject({
          ...refusal,
          message: refusal.message.replace('host', 'PGHOST'),
        })
      }
    },
  )
})

describe('a login of cloudSql', () => {
  it('has the defaults of Cloud SQL', () => {
    const login = cloudSql({ host: HOST })
    expect(login).toMatchObject({
      provider: 'cloud-sql',
      host: HOST,
      port: 5432,
      database: 'postgres',
      user: undefined,
      tls: { servername: HOST },
    })
    expect(login).not.toHaveProperty('region')
  })

  it('shortens the user as Cloud SQL does, from any source', () => {
    const email = 'app@shop.iam.gserviceaccount.com'
    expect(cloudSql({ host: HOST, user: email }).user).toBe('app@shop.iam')
    expect(createCloudSql({ host: HOST }, { PGUSER: email }).user).toBe('app@shop.iam')
    const url = `postgres://${encodeURIComponent(email)}@${HOST}/shop`
    expect(loginFromUrl(url)).toMatchObject({
      provider: 'cloud-sql',
      user: 'app@shop.iam',
      database: 'shop',
    })
    expect(loginFromEnv({}, { PGHOST: HOST }).provider).toBe('cloud-sql')
  })

  it('verifies the connection name of an instance without a DNS name', () => {
    for (const [instance, servername] of [
      ['shop:us-central1:orders', 'shop:orders'],
      ['example.com:shop:us-central1:orders', 'example.com:shop:orders'],
    ])
      expect(cloudSql({ host: '10.0.0.3', instance: instance! }).tls.servername).toBe(servername)
    const tls = { servername: HOST }
    expect(cloudSql({ host: '10.0.0.3', tls }).tls.servername).toBe(HOST)
  })

  it.each<[object, string, string]>([
    [{}, '"host" must be given', 'ERR_OPTION_INVALID'],
    [
      { host: '10.0.0.3' },
      '"instance" or "tls.servername" must be given if "host" is an IP address',
      'ERR_OPTION_INVALID',
    ],
    [
      { host: ['orders.example.com', '::1'] },
      '"instance" or "tls.servername" must be given if "host" is an IP address',
      'ERR_OPTION_INVALID',
    ],
    [
      { host: '10.0.0.3', instance: 'shop:us-central1:orders', tls: { servername: HOST } },
      '"instance" must not be given together with "tls.servername"',
      'ERR_OPTION_CONFLICT',
    ],
    [
      { host: ['10.0.0.3', '10.0.0.4'], instance: 'shop:us-central1:orders' },
      '"instance" must not be given for several hosts',
      'ERR_OPTION_CONFLICT',
    ],
    ...['orders', 'shop:orders', 'a:b:c:d:e', 'shop:us-central1:', 5].map(
      (instance): [object, string, string] => [
        { host: HOST, instance },
        `"instance" must be a connection name, PROJECT:REGION:INSTANCE, got ${JSON.stringify(instance)}`,
        'ERR_OPTION_INVALID',
      ],
    ),
    [
      { host: HOST, credentials: { private_key: 'CANARY' } },
      '"credentials" must be a GoogleAuth or an auth client of google-auth-library, or a function that returns one, got an object',
      'ERR_OPTION_INVALID',
    ],
    [
      { host: HOST, tls: false },
      '"tls" must not turn TLS or its verification off',
      'ERR_TLS_UNVERIFIED',
    ],
  ])('rejects %j', (options, message, code) => {
    const error = thrownBy(() => cloudSql(options as CloudSqlOptions))
    expect(error).toMatchObject({ message, code })
    expect(printed(error)).not.toContain('CANARY')
  })
})
