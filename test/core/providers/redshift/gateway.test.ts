/** Logins with Redshift passwords, through a server that checks them. */
import type { DatabaseError, Pool } from 'pg'
import { createPool } from '../../../../adapters/pg.js'
import { redshift, type Login } from '../../../../core/index.js'
import { startGateway, type Gateway } from '../../../../gateway/index.js'
import { startRedshiftApi, type RedshiftApi } from '../../../support/aws/redshift-api.js'
import { createAwsFiles, type AwsFiles } from '../../support/aws-files.js'
import { rejectionOf } from '../../support/caught.js'
import { CREDENTIALS } from '../../support/dsql-options.js'

const CLUSTER = 'shop.c0ffee.us-east-1.redshift.amazonaws.com'
const WORKGROUP = 'shop-wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com'
const USER = 'IAMR:reader'
const surroundings = process.env

let files: AwsFiles
let api: RedshiftApi
let gateway: Gateway
let pool: Pool | undefined
/** Passwords that the database rejects before they expire. */
const revoked = new Set<string>()

beforeAll(async () => {
  files = createAwsFiles({})
  api = await startRedshiftApi((_request, count) => ({
    user: USER,
    password: `password ${count}`,
    expiration: new Date(Date.now() + 900_000),
  }))
  const users = (user: string): string | undefined => {
    const password = api.passwordOf(user)
    return password === undefined || revoked.has(password) ? undefined : password
  }
  gateway = await startGateway({
    endpoints: [
      { provider: 'password', hosts: [CLUSTER], users, method: 'md5' },
      { provider: 'password', hosts: [WORKGROUP], users, method: 'cleartext' },
    ],
    roles: [USER],
    database: 'dev',
  })
})
beforeEach(() => {
  process.env = { ...surroundings, ...files.env, ...api.env }
})
afterEach(async () => {
  await pool?.end()
  pool = undefined
  revoked.clear()
  process.env = surroundings
})
afterAll(async () => {
  await gateway.close()
  await api.close()
  files.remove()
})

function loginTo(host: string): Login {
  const { host: address, port, ca } = gateway
  return redshift({
    host,
    credentials: CREDENTIALS,
    connectTo: { host: address, port },
    tls: { ca },
  })
}

describe('redshift', () => {
  it.each([CLUSTER, WORKGROUP])(
    'logs in as the user that was returned with the password: %s',
    async (host) => {
      const login = loginTo(host)
      pool = createPool(login)
      const { rows } = await pool.query('SELECT current_user AS "user", current_database() AS name')
      expect(rows).toEqual([{ user: USER, name: 'dev' }])
      expect(login.user).toBe(USER)
    },
  )

  it('opens many connections with one password', async () => {
    const before = api.requests.length
    const many = (pool = createPool(loginTo(CLUSTER), { max: 5 }))
    await Promise.all(Array.from({ length: 20 }, () => many.query('SELECT 1')))
    expect(api.requests.length - before).toBe(1)
  })

  it('requests another password once the database rejects the current one', async () => {
    const login = loginTo(CLUSTER)
    const held = await login.password()
    revoked.add(held)
    pool = createPool(login, { max: 1 })
    await expect(pool.query('SELECT 1')).resolves.toBeDefined()
    expect(await login.password()).not.toBe(held)
    expect(login.stats()).toMatchObject({ tokensMade: 2, tokensFailed: 0 })
  })

  it('fails with a hint if every password is rejected', async () => {
    const login = loginTo(WORKGROUP)
    jest.spyOn(revoked, 'has').mockReturnValue(true)
    pool = createPool(login, { max: 1 })
    const refused = (): Promise<unknown> => rejectionOf(pool!.query('SELECT 1'))
    const error = (await refused()) as DatabaseError
    expect(error).toMatchObject({
      code: '28P01',
      message: `password authentication failed for user "${USER}"`,
      hint: expect.stringMatching(/^The IAM password of "IAMR:reader" was rejected/),
    })
    for (let connection = 0; connection < 3; connection++) await refused()
    // Not one request for each of them.
    expect(login.stats().tokensMade).toBe(2)
  })
})
