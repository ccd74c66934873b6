import { loginFromEnv, loginFromUrl, rds, type RdsOptions } from '../../../../core/index.js'
import { createRds } from '../../../../core/providers/rds/rds.js'
import { withEnvironment } from '../../../support/environment.js'
import { thrownBy } from '../../support/caught.js'
import { RDS_HOST, RDS_OPTIONS, RDS_REGION } from '../../support/rds-options.js'

const PROXY = 'shop.proxy-c1a2b3c4d5e6.us-east-1.rds.amazonaws.com'
const create = (options: RdsOptions, env = {}) => createRds(options, env)

describe('rds', () => {
  it('takes the rest from the endpoint', () => {
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

  it('takes what is not given from the environment', () => {
    const env = { PGHOST: PROXY, PGPORT: '6432', PGDATABASE: 'shop', PGUSER: 'env' }
    expect(create({}, env)).toMatchObject({
      host: PROXY,
      port: 6432,
      database: 'shop',
      user: 'env',
      region: 'us-east-1',
    })
  })

  it('lets the endpoint beat AWS_REGION, which is about other things, too', () => {
    expect(create(RDS_OPTIONS, { AWS_REGION: 'us-east-1' }).region).toBe(RDS_REGION)
  })

  it('takes several hosts', () => {
    expect(create({ ...RDS_OPTIONS, host: [RDS_HOST, PROXY] })).toMatchObject({
      host: RDS_HOST,
      hosts: [RDS_HOST, PROXY],
    })
  })

  it('knows no region of a name that is yet to be followed, but the one given', () => {
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
        message: `"region" must be "${RDS_REGION}", as "host" says, got "us-east-1"`,
      },
    ],
    [
      'an address',
      { ...RDS_OPTIONS, host: '10.0.0.1' },
      {
        code: 'ERR_OPTION_INVALID',
        message: '"host" must be an RDS endpoint or another name for one, got the address 10.0.0.1',
        hint: 'Give the endpoint as "host", and this address as "connectTo".',
      },
    ],
    [
      'a life of tokens, which is fixed',
      { ...RDS_OPTIONS, tokenDurationSecs: 900 } as object,
      { code: 'ERR_OPTION_INVALID', message: '"tokenDurationSecs" is not a known option' },
    ],
    [
      'two sources of credentials',
      { ...RDS_OPTIONS, profile: 'work' },
      { code: 'ERR_OPTION_CONFLICT' },
    ],
  ])('refuses %s', (_what, options, error) => {
    expect(thrownBy(() => create(options))).toMatchObject(error)
  })
})

describe('a login from a URL or an environment', () => {
  it.each([
    RDS_HOST,
    'shop.c1a2b3c4d5e6.rds.cn-north-1.amazonaws.com.cn',
    'shop.global-a1b2c3.global.rds.amazonaws.com',
  ])('is one of RDS for %s', (host) => {
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

  it('is not one of RDS for a name of the user’s own, which could be anywhere', () => {
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
