import { redshiftEndpoint } from '../../../../core/providers/host-names.js'
import {
  isPgIamError,
  loginFromEnv,
  loginFromUrl,
  redshift,
  type RedshiftOptions,
} from '../../../../core/index.js'
import { createRedshift } from '../../../../core/providers/redshift/redshift.js'
import { thrownBy } from '../../support/caught.js'

const CLUSTER = 'shop.c0ffee.us-east-1.redshift.amazonaws.com'
const WORKGROUP = 'shop-wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com'
const OWN = 'warehouse.shop.example'

/** The code and the message, or all visible properties of a login. */
function outcome(options: object, env: Record<string, string> = {}): object {
  try {
    const { host, region, port, database, user } = createRedshift(options, env)
    return { host, region, port, database, user }
  } catch (error) {
    if (!isPgIamError(error)) throw error
    return { code: error.code, message: error.message }
  }
}

describe('redshift', () => {
  it('requires only the host', () => {
    expect(redshift({ host: CLUSTER })).toMatchObject({
      provider: 'redshift',
      host: CLUSTER,
      region: 'us-east-1',
      port: 5439,
      database: 'dev',
      user: undefined,
    })
  })

  it('reads defaults from the environment, but not the user', () => {
    const env = { PGHOST: WORKGROUP, PGPORT: '5440', PGDATABASE: 'sales', PGUSER: 'postgres' }
    expect(outcome({}, env)).toEqual({
      host: WORKGROUP,
      region: 'eu-west-1',
      port: 5440,
      database: 'sales',
      user: undefined,
    })
  })

  it.each([
    ['a cluster', { clusterIdentifier: 'shop' }],
    ['a workgroup', { workgroupName: 'shop-wg' }],
    ['a custom domain of a cluster', { customDomain: 'cluster' }],
    ['a custom domain of a workgroup', { customDomain: 'workgroup' }],
  ])('accepts a custom host with %s and a region', (_label, options) => {
    expect(outcome({ host: OWN, region: 'us-west-2', ...options })).toMatchObject({
      host: OWN,
      region: 'us-west-2',
    })
    expect(outcome({ host: OWN, ...options }, { AWS_REGION: 'us-west-2' })).toMatchObject({
      region: 'us-west-2',
    })
    expect(outcome({ host: OWN, ...options })).toEqual({
      code: 'ERR_OPTION_INVALID',
      message: '"region" must be given if "host" does not contain it',
    })
  })

  it.each<[string, object, string, string]>([
    ['no host', {}, 'ERR_OPTION_INVALID', '"host" must be given'],
    [
      'a host that says nothing',
      { host: OWN, region: 'us-east-1' },
      'ERR_OPTION_INVALID',
      '"clusterIdentifier", "workgroupName" or "customDomain" must be given if "host" is not a Redshift endpoint name',
    ],
    [
      'a user',
      { host: CLUSTER, user: 'app' },
      'ERR_OPTION_CONFLICT',
      '"user" must not be given: Redshift returns the user together with the password',
    ],
    [
      'a user name',
      { host: CLUSTER, username: 'app' },
      'ERR_OPTION_CONFLICT',
      '"username" must not be given: Redshift returns the user together with the password',
    ],
    [
      'two names',
      { host: OWN, clusterIdentifier: 'shop', workgroupName: 'shop-wg' },
      'ERR_OPTION_CONFLICT',
      '"clusterIdentifier" and "workgroupName" must not be given together',
    ],
    [
      'a name beside a custom domain',
      { host: OWN, workgroupName: 'shop-wg', customDomain: 'workgroup' },
      'ERR_OPTION_CONFLICT',
      '"workgroupName" and "customDomain" must not be given together',
    ],
    [
      'an API on another machine without TLS',
      { host: CLUSTER, apiEndpoint: 'http://redshift.example.com' },
      'ERR_OPTION_INVALID',
      '"apiEndpoint" must be an https URL, or an http URL on this machine, got "http://redshift.example.com"',
    ],
    [
      'a workgroup at the host of a cluster',
      { host: CLUSTER, workgroupName: 'shop-wg' },
      'ERR_OPTION_CONFLICT',
      '"workgroupName" must not be given if "host" is an endpoint name of a cluster',
    ],
    [
      'a custom domain that is an endpoint name',
      { host: WORKGROUP, customDomain: 'workgroup' },
      'ERR_OPTION_CONFLICT',
      '"customDomain" must not be given if "host" is an endpoint name of a workgroup',
    ],
    [
      'a user of one’s choice of a workgroup',
      { host: WORKGROUP, dbUser: 'app' },
      'ERR_OPTION_CONFLICT',
      '"dbUser" must not be given for a serverless workgroup',
    ],
    [
      'a user of one’s choice where one of the hosts is a workgroup',
      { host: [CLUSTER, WORKGROUP], dbUser: 'app' },
      'ERR_OPTION_CONFLICT',
      '"dbUser" must not be given for a serverless workgroup',
    ],
    [
      'groups without a user',
      { host: CLUSTER, dbGroups: ['readers'] },
      'ERR_OPTION_CONFLICT',
      '"dbGroups" must not be given without "dbUser"',
    ],
    [
      'a user to be made without a name',
      { host: CLUSTER, autoCreate: true },
      'ERR_OPTION_CONFLICT',
      '"autoCreate" must not be given without "dbUser"',
    ],
    [
      'a user that can be none',
      { host: CLUSTER, dbUser: 'IAM:app' },
      'ERR_OPTION_INVALID',
      '"dbUser" must be the name of a database user: 1 to 64 letters, digits and _+.@-, a letter first, got "IAM:app"',
    ],
    [
      'everybody for a user',
      { host: CLUSTER, dbUser: 'PUBLIC' },
      'ERR_OPTION_INVALID',
      '"dbUser" must be the name of a database user: 1 to 64 letters, digits and _+.@-, a letter first, got "PUBLIC"',
    ],
    [
      'a group in capitals',
      { host: CLUSTER, dbUser: 'app', dbGroups: ['readers', 'Writers'] },
      'ERR_OPTION_INVALID',
      '"dbGroups[1]" must be the name of a group in lower case: 1 to 64 letters, digits and _+.@-, a letter first, got "Writers"',
    ],
    [
      'no groups',
      { host: CLUSTER, dbUser: 'app', dbGroups: [] },
      'ERR_OPTION_INVALID',
      '"dbGroups" must be a list with at least one value, got an array of 0',
    ],
    [
      'a cluster for several hosts',
      { host: [CLUSTER, CLUSTER], clusterIdentifier: 'shop' },
      'ERR_OPTION_CONFLICT',
      '"clusterIdentifier" must not be given for several hosts',
    ],
    [
      'another region than the host’s',
      { host: CLUSTER, region: 'us-west-2' },
      'ERR_OPTION_CONFLICT',
      '"region" must be "us-east-1", as in "host", got "us-west-2"',
    ],
    [
      'no name of a cluster',
      { host: OWN, clusterIdentifier: 'Shop!' },
      'ERR_OPTION_INVALID',
      '"clusterIdentifier" must be the identifier of a cluster, got "Shop!"',
    ],
    [
      'no kind of domain',
      { host: OWN, customDomain: 'serverless' },
      'ERR_OPTION_INVALID',
      '"customDomain" must be "cluster" or "workgroup", got "serverless"',
    ],
    [
      'too short a life',
      { host: CLUSTER, tokenDurationSecs: 60 },
      'ERR_OPTION_INVALID',
      '"tokenDurationSecs" must be an integer of seconds from 900 to 3600, got 60',
    ],
  ])('rejects %s', (_label, options, code, message) => {
    expect(outcome(options)).toEqual({ code, message })
  })

  it('accepts the cluster of a VPC endpoint, whose name has the form of a cluster endpoint', () => {
    const host = 'my-endpoint.c0ffee.us-east-1.redshift.amazonaws.com'
    expect(outcome({ host, clusterIdentifier: 'shop' })).toMatchObject({ host })
  })
})

describe('a Redshift host', () => {
  it.each([CLUSTER, WORKGROUP])('is recognised in a URL: %s', (host) => {
    expect(loginFromUrl(`postgres://${host}/sales`)).toMatchObject({
      provider: 'redshift',
      host,
      port: 5439,
      database: 'sales',
    })
  })

  it('is recognised in the environment', () => {
    expect(loginFromEnv({}, { PGHOST: CLUSTER, PGUSER: 'postgres' })).toMatchObject({
      provider: 'redshift',
      user: undefined,
    })
  })

  it('is rejected with a user in its URL', () => {
    expect(thrownBy(() => loginFromUrl(`postgres://app@${CLUSTER}/dev`))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      hint: expect.stringContaining('give "dbUser"'),
    })
  })
})

// Compiled by `tsc -p test`: the types also reject a user.
export const wrong: RedshiftOptions = {
  host: CLUSTER,
  // @ts-expect-error Redshift returns the user
  user: 'app',
}

describe('redshiftEndpoint', () => {
  it.each([
    ['shop.c0ffee12345.us-east-1.redshift.amazonaws.com', 'cluster', 'shop', 'us-east-1'],
    ['my-shop-2.abc.us-gov-west-1.redshift.amazonaws.com', 'cluster', 'my-shop-2', 'us-gov-west-1'],
    ['shop.abc.cn-north-1.redshift.amazonaws.com.cn', 'cluster', 'shop', 'cn-north-1'],
    [
      'default-wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com',
      'workgroup',
      'default-wg',
      'eu-west-1',
    ],
    [
      'default.123456789012.cn-northwest-1.redshift-serverless.amazonaws.com.cn',
      'workgroup',
      'default',
      'cn-northwest-1',
    ],
  ])('parses %s', (host, kind, name, region) => {
    expect(redshiftEndpoint(host)).toEqual({ kind, name, region })
  })

  it.each([
    'redshift.us-east-1.amazonaws.com',
    'shop.us-east-1.redshift.amazonaws.com',
    'shop.abc.us-east-1.redshift.amazonaws.com.evil.example',
    'evil.example.shop.abc.us-east-1.redshift.amazonaws.com',
    'shop.abc.us-east-1.rds.amazonaws.com',
    'warehouse.shop.example',
    '127.0.0.1',
    '',
  ])('returns undefined for %p', (host) => {
    expect(redshiftEndpoint(host)).toBeUndefined()
  })
})
