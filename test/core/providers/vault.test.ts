/** The recipe of docs/custom.md for HashiCorp Vault, up to a login with its result. */
import { inspect } from 'node:util'
import type { Pool } from 'pg'
import { createPool } from '../../../adapters/pg.js'
import {
  customLogin,
  type CustomLoginOptions,
  type GetToken,
  type Login,
} from '../../../core/index.js'
import { type Gateway, startGateway } from '../../../gateway/index.js'
import { type LoopbackServer, startLoopback } from '../../support/issuers/loopback-server.js'
import { rejectionOf } from '../support/caught.js'
import { printed } from '../support/printed.js'

const HOST = 'db.shop.example'
const METHODS = ['scram-sha-256', 'md5', 'cleartext'] as const
const ROLES = ['v-shop-1', 'v-shop-2', 'v-shop-3', 'v-shop-4', 'v-shop-5', 'v-shop-6']

let vault: LoopbackServer
let gateway: Gateway
let pool: Pool | undefined
/** The current roles, as created by Vault in the database. */
const leases = new Map<string, string>()
let given = 0
let isSealed = false

/** The parts of Vault's database secrets engine that are used. */
beforeAll(async () => {
  vault = await startLoopback(({ path, headers }) => {
    if (headers['x-vault-token'] !== 'CANARY of the application')
      return { status: 403, body: { errors: ['permission denied'] } }
    if (isSealed) return { status: 503, body: { errors: ['Vault is sealed'] } }
    if (path !== '/v1/database/creds/shop') return { status: 404, body: { errors: [] } }
    const username = ROLES[given++]!
    const password = `CANARY-${given}`
    leases.set(username, password)
    const data = { username, password }
    return { body: { lease_id: `database/creds/shop/${given}`, lease_duration: 3_600, data } }
  })
  gateway = await startGateway({
    endpoints: METHODS.map((method) => ({
      provider: 'password',
      hosts: [`${method}.${HOST}`],
      users: (user: string) => leases.get(user),
      method,
    })),
    roles: ROLES,
    database: 'shop',
  })
})
afterEach(async () => {
  await pool?.end()
  pool = undefined
  isSealed = false
})
afterAll(async () => {
  await gateway.close()
  await vault.close()
})

/** The recipe. */
const fromVault: GetToken = async ({ signal }) => {
  const response = await fetch(`${vault.url}/v1/database/creds/shop`, {
    headers: { 'X-Vault-Token': 'CANARY of the application' },
    signal,
  })
  if (!response.ok) {
    throw Object.assign(new Error(`Vault answered ${response.status}`), {
      status: response.status,
    })
  }
  const { data, lease_duration: secs } = (await response.json()) as {
    data: { username: string; password: string }
    lease_duration: number
  }
  return {
    value: data.password,
    user: data.username,
    expiresAt: new Date(Date.now() + secs * 1_000),
  }
}

function login(
  method: (typeof METHODS)[number] = 'scram-sha-256',
  own: Partial<CustomLoginOptions> = {},
): Login {
  const { host, port, ca } = gateway
  return customLogin({
    host: `${method}.${HOST}`,
    database: 'shop',
    getToken: fromVault,
    connectTo: { host, port },
    tls: { ca },
    ...own,
  })
}

describe('customLogin with Vault', () => {
  it.each(METHODS)('logs in as the role that Vault has created, with %s', async (method) => {
    const own = login(method)
    pool = createPool(own, { max: 3 })
    const users = await Promise.all(
      Array.from({ length: 6 }, () => pool!.query('SELECT current_user AS "user"')),
    )
    expect(new Set(users.map(({ rows }) => (rows[0] as { user: string }).user))).toEqual(
      new Set([own.user]),
    )
    expect(own.user).toBe(ROLES[given - 1])
    expect(own.stats()).toMatchObject({ tokensMade: 1 })
    expect(inspect(pool, { depth: 8, showHidden: true })).not.toContain('CANARY')
  })

  it('requests another role when Vault has revoked the first', async () => {
    const own = login()
    const { user } = await own.token()
    leases.delete(user!)
    pool = createPool(own, { max: 1 })
    const { rows } = await pool.query('SELECT current_user AS "user"')
    expect(rows).toEqual([{ user: ROLES[given - 1] }])
    expect(own.user).not.toBe(user)
  })

  it('requests no other role if each connection has its own', async () => {
    let asked = 0
    const own = login('scram-sha-256', {
      reuseTokenSecs: 0,
      getToken: () => {
        asked++
        return { value: 'CANARY of nobody', user: ROLES[0]! }
      },
    })
    leases.delete(ROLES[0]!)
    pool = createPool(own, { max: 1 })
    expect(await rejectionOf(pool.query('SELECT 1'))).toMatchObject({ code: '28P01' })
    expect(asked).toBe(1)
  })

  it("reports Vault's error, and that it is retryable", async () => {
    isSealed = true
    const error = await rejectionOf(login().token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_REQUEST_FAILED',
      message: `custom: could not get a token for scram-sha-256.${HOST}`,
      cause: new Error('Vault answered 503'),
      retryable: true,
    })
    expect(printed(error)).not.toContain('CANARY')
  })
})
