/** Logins to RDS through the gateway, which checks host, port, region, user and principal as RDS does. */
import type { DatabaseError } from 'pg'
import { createPool } from '../../../../adapters/pg.js'
import { type Login, loginFromUrl, type RdsOptions } from '../../../../core/index.js'
import { createRds } from '../../../../core/providers/rds/rds.js'
import { type Gateway, startGateway } from '../../../../gateway/index.js'
import { rejectionOf } from '../../support/caught.js'
import { type DnsServer, startDnsServer } from '../../support/dns-server.js'

const CLUSTER = 'shop.cluster-c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'
const READER = 'shop.cluster-ro-c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'
const CHINA = 'shop.c1a2b3c4d5e6.rds.cn-north-1.amazonaws.com.cn'
const OWN = 'db.shop.example'

let gateway: Gateway
let dns: DnsServer
beforeAll(async () => {
  dns = await startDnsServer({ [OWN]: { cname: CLUSTER } })
  gateway = await startGateway({
    endpoints: [
      { provider: 'rds', hosts: [CLUSTER, READER, CHINA] },
      {
        provider: 'rds',
        hosts: ['other.c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'],
        port: 6432,
      },
    ],
    roles: ['app', 'report'],
    principals: [
      { accessKeyId: 'AKIAAPP', secretAccessKey: 'secret of the application', roles: ['app'] },
    ],
  })
})
afterAll(async () => {
  await gateway?.close()
  await dns?.close()
})

/** A login to the gateway. Without `connectTo` and `tls` it would go to AWS. */
const login = (options: RdsOptions): Login =>
  createRds(
    {
      user: 'app',
      credentials: gateway.credentials,
      connectTo: { host: gateway.host, port: gateway.port },
      tls: { ca: gateway.ca },
      ...options,
    },
    {},
    { resolveCname: (name) => dns.resolver.resolveCname(name) },
  )

async function roleOf(given: Login): Promise<unknown> {
  const pool = createPool(given, { max: 1 })
  try {
    const { rows } = await pool.query<{ role: string }>('SELECT current_user AS role')
    return rows[0]?.role
  } finally {
    await pool.end()
  }
}

describe('a login to RDS', () => {
  it.each([CLUSTER, READER, CHINA, OWN])('succeeds: %s', async (host) => {
    expect(await roleOf(login({ host }))).toBe('app')
  })

  it('succeeds with the port of the database, whatever port is dialled', async () => {
    const host = 'other.c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'
    expect(await roleOf(login({ host, port: 6432 }))).toBe('app')
    expect(await rejectionOf(roleOf(login({ host })))).toMatchObject({ code: '28000' })
  })

  it('succeeds with a URL', async () => {
    const { host, port } = gateway
    const made = loginFromUrl(`postgres://app@${CLUSTER}/postgres`, {
      credentials: gateway.credentials,
      connectTo: { host, port },
      tls: { ca: gateway.ca },
    })
    expect(await roleOf(made)).toBe('app')
  })

  it('opens a pool of connections with one token', async () => {
    const shared = login({ host: CLUSTER })
    const pool = createPool(shared, { max: 4 })
    const clients = await Promise.all(Array.from({ length: 4 }, () => pool.connect()))
    for (const client of clients) client.release()
    await pool.end()
    expect(shared.stats()).toMatchObject({
      tokensMade: 1,
      connectionsOpened: 4,
      credentialCalls: 1,
    })
  })

  it('fails with a hint with the likely causes', async () => {
    const error = (await rejectionOf(
      roleOf(login({ host: CLUSTER, user: 'report' })),
    )) as DatabaseError
    expect(error).toMatchObject({
      code: '28000',
      message: 'PAM authentication failed for user "report"',
      hint: expect.stringContaining('an IAM policy that allows rds-db:connect'),
    })
  })

  it('continues with new credentials after the old ones were revoked', async () => {
    const [old, renewed] = [
      gateway.issueCredentials({ durationSecs: 3_600 }),
      gateway.issueCredentials({ durationSecs: 3_600 }),
    ]
    let current = old
    const made = login({ host: CLUSTER, credentials: () => current })
    expect(await roleOf(made)).toBe('app')
    gateway.revokeCredentials(old.accessKeyId)
    current = renewed
    expect(await roleOf(made)).toBe('app')
    expect(made.stats()).toMatchObject({ tokensMade: 2 })
  })
})
