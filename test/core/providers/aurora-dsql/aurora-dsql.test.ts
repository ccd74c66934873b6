import { writeFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { auroraDsql, type AuroraDsqlOptions } from '../../../../core/index.js'
import { createAuroraDsql } from '../../../../core/providers/aurora-dsql/aurora-dsql.js'
import { thrownBy } from '../../support/caught.js'
import { createAuthority } from '../../support/certificates.js'
import { CLUSTER_ID, CREDENTIALS, HOST, OPTIONS, REGION } from '../../support/dsql-options.js'

describe('auroraDsql', () => {
  it('has what one database login needs, with the defaults of Aurora DSQL', () => {
    expect(createAuroraDsql(OPTIONS, {})).toMatchObject({
      provider: 'aurora-dsql',
      host: HOST,
      port: 5432,
      database: 'postgres',
      user: 'app',
      region: REGION,
      tls: { rejectUnauthorized: true, servername: HOST, minVersion: 'TLSv1.2' },
      tlsNegotiation: 'postgres',
      maxLifetimeSecs: 3_300,
    })
  })

  it('has what was given', async () => {
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
          negotiation: 'direct',
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
      tlsNegotiation: 'direct',
      maxLifetimeSecs: 60,
    })
  })

  it('takes what is not given from the environment of this process', () => {
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

  it('is completed with the region of the environment where it is a cluster ID', () => {
    expect(createAuroraDsql({ host: CLUSTER_ID, user: 'app' }, { AWS_REGION: REGION }).host).toBe(
      HOST,
    )
    expect(
      createAuroraDsql({ user: 'app' }, { PGHOST: CLUSTER_ID, AWS_DEFAULT_REGION: REGION }).host,
    ).toBe(HOST)
  })

  it('counts for more than a region of the environment', () => {
    for (const AWS_REGION of ['eu-west-1', 'no region']) {
      expect(createAuroraDsql({ host: HOST, user: 'app' }, { AWS_REGION }).region).toBe(REGION)
    }
  })

  it('is dialled elsewhere, at the same port, where only another host is given', () => {
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

  it('are used in this order', () => {
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

  it('do not get in the way of each other when a variable is useless here', () => {
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

  it('give the region in this order: option, AWS_REGION, AWS_DEFAULT_REGION', () => {
    const base = { host: 'db.example.com', user: 'app' }
    const all = { AWS_REGION: 'eu-west-1', AWS_DEFAULT_REGION: 'eu-west-2' }
    expect(createAuroraDsql({ ...base, region: 'eu-west-3' }, all).region).toBe('eu-west-3')
    expect(createAuroraDsql(base, all).region).toBe('eu-west-1')
    expect(createAuroraDsql(base, { ...all, AWS_REGION: '' }).region).toBe('eu-west-2')
  })

  it('give the authority in this order: tls.ca, PGSSLROOTCERT, what Node ships', async () => {
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

  it('refuse a weak PGSSLMODE whatever the options say', () => {
    expect(() => createAuroraDsql({ ...OPTIONS, tls: {} }, { PGSSLMODE: 'disable' })).toThrow(
      expect.objectContaining({ code: 'ERR_TLS_UNVERIFIED' }),
    )
  })

  it.each<[AuroraDsqlOptions, Record<string, string>, string]>([
    [{ user: 'app' }, {}, '"host" must be given'],
    [{ host: HOST }, {}, '"user" must be given'],
    [
      { host: CLUSTER_ID, user: 'app' },
      {},
      '"host" is a cluster ID and must be given with "region"',
    ],
    [
      { host: 'db.example.com', user: 'app' },
      {},
      '"region" must be given where "host" does not name it',
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
  ])('name what is missing or wrong in %j with %j', (options, variables, message) => {
    expect(thrownBy(() => createAuroraDsql(options, variables))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message,
    })
  })
})
