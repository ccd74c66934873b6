import { inspect } from 'node:util'
import { loginFromEnv, loginFromUrl, type LoginFromOptions } from '../../core/index.js'
import { thrownBy } from './support/caught.js'
import { createAuthority } from './support/certificates.js'
import { CREDENTIALS, HOST, REGION } from './support/dsql-options.js'
import { printed } from './support/printed.js'

const URL_TEXT = `postgres://app@${HOST}:5433/shop`
const surroundings = process.env

beforeEach(() => {
  process.env = {}
})
afterEach(() => {
  process.env = surroundings
})

describe('loginFromUrl', () => {
  it('recognises Aurora DSQL by its host name', () => {
    const parts = {
      provider: 'aurora-dsql',
      host: HOST,
      port: 5433,
      database: 'shop',
      user: 'app',
      region: REGION,
    }
    expect(loginFromUrl(URL_TEXT)).toMatchObject(parts)
    expect(loginFromUrl(new URL(URL_TEXT))).toMatchObject(parts)
    expect(loginFromUrl(URL_TEXT.replace(HOST, `${HOST.toUpperCase()}.`))).toMatchObject(parts)
    expect(loginFromUrl(URL_TEXT.replace('.dsql.', '.dsql-fnh4.')).provider).toBe('aurora-dsql')
  })

  it('gives options precedence over the URL, and the URL over the environment', () => {
    process.env = { PGHOST: '/tmp', PGPORT: '1111', PGDATABASE: 'env', PGUSER: 'env' }
    expect(loginFromUrl(URL_TEXT)).toMatchObject({
      host: HOST,
      port: 5433,
      database: 'shop',
      user: 'app',
    })
    const options = { port: 2222, database: 'given', user: 'given' }
    expect(loginFromUrl(URL_TEXT, options)).toMatchObject({ host: HOST, ...options })
    process.env = { PGPORT: '1111', PGDATABASE: 'env', PGUSER: 'env' }
    expect(loginFromUrl(`postgres://${HOST}`)).toMatchObject({
      port: 1111,
      database: 'env',
      user: 'env',
    })
  })

  it.each<[LoginFromOptions, string]>([
    [{}, 'app'],
    [{ user: 'given' }, 'given'],
    [{ username: 'given' }, 'given'],
    [{ user: 'given', username: 'given' }, 'given'],
    [{ user: undefined, username: 'given' } as object, 'given'],
    [{ user: undefined } as object, 'app'],
  ])('with the options %j and a user in the URL takes the user "%s"', (options, user) => {
    expect(loginFromUrl(URL_TEXT, options).user).toBe(user)
  })

  it('takes the host from the options, then the URL, then PGHOST', () => {
    const other = HOST.replace('12.', '34.')
    expect(loginFromUrl(URL_TEXT, { host: other }).host).toBe(other)
    process.env = { PGHOST: other }
    expect(loginFromUrl(URL_TEXT).host).toBe(HOST)
    expect(loginFromUrl('postgres:///shop?user=app').host).toBe(other)
  })

  it('merges the TLS settings of URL and options, which take precedence', async () => {
    const [{ ca: one }, { ca: two }] = await Promise.all([createAuthority(), createAuthority()])
    const url = `${URL_TEXT}?sslnegotiation=direct&sslrootcert=${encodeURIComponent(one)}`
    expect(loginFromUrl(url)).toMatchObject({ tls: { ca: one }, tlsNegotiation: 'direct' })
    expect(loginFromUrl(url, { tls: { ca: two } })).toMatchObject({
      tls: { ca: two },
      tlsNegotiation: 'direct',
    })
    expect(loginFromUrl(url, { tls: { negotiation: 'postgres' } })).toMatchObject({
      tls: { ca: one },
      tlsNegotiation: 'postgres',
    })
    expect(loginFromUrl(url, { tls: { ca: undefined } as object }).tls.ca).toBe(one)
    process.env = { PGSSLROOTCERT: '/no/such/file' }
    expect(loginFromUrl(url).tls.ca).toBe(one)
  })

  it.each([
    [{ tls: false }, 'ERR_TLS_UNVERIFIED'],
    [{ tls: { rejectUnauthorized: false } }, 'ERR_TLS_UNVERIFIED'],
    [{ tls: 'prefer' }, 'ERR_TLS_UNVERIFIED'],
    [{ region: 'eu-west-1' }, 'ERR_OPTION_CONFLICT'],
    [{ user: 'a', username: 'b' }, 'ERR_OPTION_CONFLICT'],
    [{ password: 'x' }, 'ERR_OPTION_INVALID'],
    [{ tls: null }, 'ERR_OPTION_INVALID'],
    [null, 'ERR_OPTION_INVALID'],
    ['x', 'ERR_OPTION_INVALID'],
    [{ host: 5 }, 'ERR_OPTION_INVALID'],
  ])('rejects the options %j', (options, code) => {
    const url = `${URL_TEXT}?sslnegotiation=direct`
    expect(() => loginFromUrl(url, options as LoginFromOptions)).toThrow(
      expect.objectContaining({ code }),
    )
  })

  it.each([
    [`postgres://app:CANARY@${HOST}/db`, 'ERR_OPTION_CONFLICT'],
    [`${URL_TEXT}?sslmode=disable&x=CANARY`, 'ERR_TLS_UNVERIFIED'],
    [`${URL_TEXT}?region=CANARY`, 'ERR_OPTION_INVALID'],
    [`${URL_TEXT}?region=eu-west-1`, 'ERR_OPTION_CONFLICT'],
    ['postgres://CANARY@db.example.com', 'ERR_OPTION_INVALID'],
    ['postgres://CANARY@/db', 'ERR_OPTION_INVALID'],
    ['CANARY', 'ERR_OPTION_INVALID'],
  ])('rejects %s', (url, code) => {
    const error = thrownBy(() => loginFromUrl(url))
    expect(error).toMatchObject({ code })
    if (!url.includes('region')) expect(printed(error)).not.toContain('CANARY')
  })

  it('merges the startup parameters of URL and options by name, with precedence for the options', () => {
    process.env = { PGAPPNAME: 'env', PGOPTIONS: '-c a=env' }
    const url = `${URL_TEXT}?application_name=url&options=-c%20a%3Durl&statement_timeout=5`
    const startupParameters = { application_name: 'given', lock_timeout: 7 }
    expect(loginFromUrl(url, { startupParameters }).startupParameters).toEqual({
      application_name: 'given',
      options: '-c a=url',
      statement_timeout: '5',
      lock_timeout: '7',
    })
    expect(loginFromUrl(URL_TEXT).startupParameters).toEqual({
      application_name: 'env',
      options: '-c a=env',
    })
  })

  it('ignores a variable if the URL has its parameter', () => {
    process.env = { PGTARGETSESSIONATTRS: 'primary', PGCHANNELBINDING: 'require' }
    expect(() => loginFromUrl(URL_TEXT)).toThrow('"PGCHANNELBINDING" must be')
    const query = 'target_session_attrs=any&channel_binding=prefer'
    expect(loginFromUrl(`${URL_TEXT}?${query}`).host).toBe(HOST)
    process.env = { PGSSLMODE: 'disable' }
    expect(() => loginFromUrl(`${URL_TEXT}?sslmode=verify-full`)).toThrow('"PGSSLMODE" must not')
  })

  it('accepts several hosts, in a URL and in PGHOST', () => {
    const other = HOST.replace('12.', '34.')
    const hosts = [HOST, other]
    expect(loginFromUrl(`postgres://app@${HOST}:5433,${other}:5433/shop`)).toMatchObject({
      hosts,
      port: 5433,
    })
    process.env = { PGHOST: hosts.join(','), PGUSER: 'app' }
    expect(loginFromUrl('postgres:///shop')).toMatchObject({ hosts })
  })

  it('dials hostaddr only for the host of the URL', () => {
    const url = `${URL_TEXT}?hostaddr=10.0.0.3`
    expect(loginFromUrl(url).connectTo).toEqual({ host: '10.0.0.3', port: 5433 })
    const other = HOST.replace('12.', '34.')
    expect(loginFromUrl(url, { host: other }).connectTo).toBeUndefined()
  })

  it.each(['/cloudsql/shop:europe-west1:main', 'shop:europe-west1:main'])(
    'explains how to specify a Cloud SQL instance for the host %s',
    (host) => {
      const url = `postgres:///shop?user=app&host=${encodeURIComponent(host)}`
      expect(thrownBy(() => loginFromUrl(url))).toMatchObject({
        code: 'ERR_OPTION_INVALID',
        hint: expect.stringContaining('instance: "shop:europe-west1:main"'),
      })
    },
  )

  it('lists the known host names if no provider matches the host', () => {
    expect(thrownBy(() => loginFromUrl('postgres://app@db.example.com/shop'))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: '"host" must be an endpoint name of a known provider',
      hint: expect.stringContaining('CLUSTER.dsql.REGION.on.aws'),
    })
  })

  it('does not change the options', () => {
    const options = Object.freeze({
      tls: Object.freeze({}),
      credentials: CREDENTIALS,
      port: undefined,
    })
    expect(loginFromUrl(`${URL_TEXT}?sslnegotiation=direct`, options as object)).toMatchObject({
      port: 5433,
    })
    expect(options).toEqual({ tls: {}, credentials: CREDENTIALS, port: undefined })
  })
})

describe('loginFromEnv', () => {
  const env = { PGHOST: HOST, PGPORT: '5433', PGDATABASE: 'shop', PGUSER: 'app' }

  it('reads the given environment, or that of the process', () => {
    const parts = { provider: 'aurora-dsql', host: HOST, port: 5433, database: 'shop', user: 'app' }
    expect(loginFromEnv({}, env)).toMatchObject(parts)
    process.env = { ...env, PGPORT: '1' }
    expect(loginFromEnv()).toMatchObject({ ...parts, port: 1 })
    expect(loginFromEnv({}, env)).toMatchObject(parts)
  })

  it('gives options precedence over the environment', () => {
    const connectTo = { host: '127.0.0.1', port: 6000 }
    const login = loginFromEnv({ connectTo, port: 2222, username: 'given', database: 'own' }, env)
    expect(login).toMatchObject({ host: HOST, port: 2222, user: 'given', database: 'own' })
    expect(login.connectTo).toEqual(connectTo)
    process.env = env
    expect(loginFromEnv({ connectTo })).toMatchObject({ host: HOST, user: 'app', connectTo })
    const other = HOST.replace('12.', '34.')
    expect(loginFromEnv({ host: other })).toMatchObject({ host: other, user: 'app' })
    expect(loginFromEnv({ host: other, user: 'app' }, {}).host).toBe(other)
  })

  it('treats undefined options as absent', () => {
    expect(loginFromEnv({ user: undefined, port: undefined } as object, env)).toMatchObject({
      user: 'app',
      port: 5433,
    })
  })

  it.each([
    [null, '"options" must be an object, got null', 'ERR_OPTION_INVALID'],
    ['x', expect.stringMatching(/^"options" must be an object/), 'ERR_OPTION_INVALID'],
    [{ conectTo: {} }, expect.stringContaining('"conectTo"'), 'ERR_OPTION_INVALID'],
    [{ password: 'x' }, expect.stringContaining('"password"'), 'ERR_OPTION_INVALID'],
    [{ tls: false }, expect.anything(), 'ERR_TLS_UNVERIFIED'],
    [env, '"options" must not be an environment', 'ERR_OPTION_INVALID'],
  ])('rejects the options %j', (given, message, code) => {
    const error = thrownBy(() => loginFromEnv(given as LoginFromOptions, env))
    expect(error).toMatchObject({ message, code })
  })

  it('accepts process.env itself', () => {
    const before = surroundings['PGHOST']
    try {
      Object.assign(surroundings, { PGHOST: 'localhost' })
      expect(() => loginFromEnv({}, surroundings)).toThrow('of a known provider')
    } finally {
      if (before === undefined) delete surroundings['PGHOST']
      else surroundings['PGHOST'] = before
    }
  })

  it.each([
    [{}, '"host" must be given', 'ERR_OPTION_INVALID'],
    [{ ...env, PGHOST: '' }, '"host" must be given', 'ERR_OPTION_INVALID'],
    [
      { ...env, PGHOST: 'localhost' },
      '"host" must be an endpoint name of a known provider',
      'ERR_OPTION_INVALID',
    ],
    [
      { ...env, PGHOST: '/tmp' },
      '"host" must be an endpoint name of a known provider',
      'ERR_OPTION_INVALID',
    ],
    [{ ...env, PGUSER: '' }, '"user" must be given', 'ERR_OPTION_INVALID'],
    [{ ...env, PGSSLMODE: 'prefer' }, expect.stringContaining('"PGSSLMODE"'), 'ERR_TLS_UNVERIFIED'],
    [null, '"env" must be an object such as process.env, got null', 'ERR_OPTION_INVALID'],
    ['PGHOST=x', expect.stringMatching(/^"env" must be/), 'ERR_OPTION_INVALID'],
  ])('rejects %j', (given, message, code) => {
    expect(thrownBy(() => loginFromEnv({}, given as typeof env))).toMatchObject({ message, code })
  })
})

describe('a URL that is none', () => {
  it.each([
    ['', 'environment variable'],
    ['"postgres://app@db.example.com/shop"', 'quotes'],
    ['host=db.example.com user=app', 'to a URL'],
    ['mysql://app@db.example.com/shop', 'PostgreSQL'],
    ['postgres://app:a#b/c@db.example.com/shop', 'Percent-encode'],
  ])('is rejected with a hint about its mistake: %j', (url, hint) => {
    expect(thrownBy(() => loginFromUrl(url))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      hint: expect.stringContaining(hint),
    })
  })

  it('is rejected if it has a password, with a hint about databases that take one', () => {
    const url = 'postgres://app:secret@abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws/postgres'
    const error = thrownBy(() => loginFromUrl(url))
    expect(error).toMatchObject({ hint: expect.stringContaining('without pg-iam') })
    expect(inspect(error)).not.toContain('secret')
  })
})
