/** Tokens of both signers at the gateway, which computes each signature independently. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { Signer } from '@aws-sdk/rds-signer'
import { createPool } from '../../../adapters/pg.js'
import { type Login, loginFromEnv, loginFromUrl, rds } from '../../../core/index.js'
import type { Gateway } from '../../../gateway/index.js'
import { usePostgres } from '../upstream-gateway.js'

const CLUSTER = 'signers0000000000000000abc.dsql.us-east-1.on.aws'
const DATABASE = 'shop.c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'
const server = usePostgres()
let gateway: Gateway
beforeAll(async () => {
  gateway = await server.start({
    clusters: [CLUSTER],
    endpoints: [{ provider: 'rds', hosts: [DATABASE] }],
  })
})

async function roleOf(login: Login): Promise<unknown> {
  const pool = createPool(login, { max: 1 })
  try {
    return (await pool.query('SELECT current_user AS role')).rows[0].role
  } finally {
    await pool.end()
  }
}

/** The AWS signers that have signed from now on, one for each token. */
function watchSigners(): () => unknown[] {
  const spies = [
    jest.spyOn(DsqlSigner.prototype, 'getDbConnectAuthToken'),
    jest.spyOn(DsqlSigner.prototype, 'getDbConnectAdminAuthToken'),
    jest.spyOn(Signer.prototype, 'getAuthToken'),
  ]
  return () => spies.flatMap(({ mock }) => mock.contexts)
}

describe.each([CLUSTER, DATABASE])('a gateway for %s', (host) => {
  it.each([
    ['aws-sdk', 'app', 1],
    ['aws-sdk', 'admin', 1],
    ['built-in', 'app', 0],
    ['built-in', 'admin', 0],
  ] as const)('accepts a token of the signer "%s" for the user %s', async (signer, user, byAws) => {
    const signers = watchSigners()
    expect(await roleOf(gateway.login({ host, user, signer }))).toBe(user)
    expect(signers()).toHaveLength(byAws)
  })

  it('accepts temporary credentials with each signer', async () => {
    for (const signer of ['aws-sdk', 'built-in'] as const) {
      const credentials = gateway.issueCredentials()
      expect(await roleOf(gateway.login({ host, credentials, signer }))).toBe('app')
    }
  })

  it('creates logins with the built-in signer, which need no AWS package', async () => {
    const signers = watchSigners()
    expect(await roleOf(gateway.login({ host }))).toBe('app')
    expect(await roleOf(gateway.login({ host, signer: undefined as never }))).toBe('app')
    expect(signers()).toEqual([])
  })

  it("accepts AWS's signer, the default of other logins", async () => {
    const signers = watchSigners()
    const options = {
      credentials: gateway.credentials,
      connectTo: { host: gateway.host, port: gateway.port },
      tls: { ca: gateway.ca },
    }
    expect(await roleOf(loginFromUrl(`postgres://app@${host}/postgres`, options))).toBe('app')
    expect(await roleOf(loginFromEnv(options, { PGHOST: host, PGUSER: 'app' }))).toBe('app')
    expect(signers()).toHaveLength(2)
  })
})

describe('a login to several hosts', () => {
  it('has one AWS signer for each host', async () => {
    const signers = watchSigners()
    const address = { host: gateway.host, port: gateway.port }
    const login = rds({
      host: [DATABASE.replace('shop', 'gone'), DATABASE],
      user: 'app',
      credentials: gateway.credentials,
      // No server listens at the first host.
      connectTo: [{ host: '127.0.0.1', port: 1 }, address],
      tls: { ca: gateway.ca },
      reuseTokenSecs: 0,
    })
    const pool = createPool(login, { max: 5 })
    await Promise.all(Array.from({ length: 5 }, () => pool.query('SELECT pg_sleep(0.1)')))
    await pool.end()
    expect(signers().length).toBeGreaterThan(5)
    expect(new Set(signers()).size).toBe(2)
  })
})
