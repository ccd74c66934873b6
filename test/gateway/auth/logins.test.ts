import { createPool } from '../../../adapters/pg.js'
import { cloudSql, type CloudSqlOptions, type Login } from '../../../core/index.js'
import type { CloudSqlEndpoint, Gateway } from '../../../gateway/index.js'
import { rejectionOf } from '../../core/support/caught.js'
import { printed } from '../../core/support/printed.js'
import { type GceMetadata, startGceMetadata } from '../../support/issuers/gce-metadata.js'
import {
  type GoogleTokenInfo,
  startGoogleTokenInfo,
} from '../../support/issuers/google-token-info.js'
import { createGoogleTokens, EMAIL_SCOPE } from '../../support/issuers/google-tokens.js'
import { type LogRecorder, recordLog, usePostgres } from '../upstream-gateway.js'
import { currentUser } from './current-user.js'

const HOST = '1a23b4c5d67e.2s8t1qqyvjq7l.us-central1.sql.goog'
const ACCOUNT = 'app@shop.iam.gserviceaccount.com'
const JANE = 'jane@example.com'
const ROLES = ['app@shop.iam', JANE]

const postgres = usePostgres(ROLES)
const tokens = createGoogleTokens()
let google: GoogleTokenInfo
let metadata: GceMetadata
const surroundings = process.env
beforeAll(async () => {
  google = await startGoogleTokenInfo(tokens)
  metadata = await startGceMetadata({ tokens, email: ACCOUNT })
})
afterAll(async () => {
  await Promise.all([google?.close(), metadata?.close()])
})
beforeEach(() => {
  process.env = { ...metadata.env, HOME: '/nonexistent', CLOUDSDK_CONFIG: '/nonexistent' }
})
afterEach(() => {
  process.env = surroundings
})

interface Started {
  gateway: Gateway
  log: LogRecorder
  login: (options?: CloudSqlOptions) => Login
}

/** A gateway that looks tokens up at the local emulation of Google. */
async function start(own: Partial<CloudSqlEndpoint> = {}, clock = Date.now): Promise<Started> {
  const log = recordLog()
  const endpoint: CloudSqlEndpoint = {
    provider: 'cloud-sql',
    hosts: [HOST],
    principals: [ACCOUNT, JANE],
    tokenInfo: google.url,
    ...own,
  }
  const gateway = await postgres.start({
    endpoints: [endpoint],
    roles: ROLES,
    logger: log.logger,
    clock,
  })
  const { host, port, ca } = gateway
  const login = (options?: CloudSqlOptions): Login =>
    // A refused shared token is requested once more, which would affect the counts of refusals.
    cloudSql({ host: HOST, connectTo: { host, port }, reuseTokenSecs: 0, ...options, tls: { ca } })
  return { gateway, log, login }
}

/** An auth client that always returns this token. */
const clientOf = (token: string): NonNullable<CloudSqlOptions['credentials']> => ({
  credentials: { expiry_date: Date.now() + 3_600_000 },
  getAccessToken: async () => Promise.resolve({ token }),
})

describe('a client with Google SDK credentials', () => {
  it('logs in as the service account of its machine without a configured user name', async () => {
    const { gateway, login: loginWith } = await start()
    const login = loginWith()
    expect(login.user).toBeUndefined()
    expect(await currentUser(login)).toEqual({ me: 'app@shop.iam' })
    expect(login.user).toBe('app@shop.iam')
    expect(gateway.stats()).toMatchObject({ loginsAccepted: 1, distinctTokens: 1 })
  })

  it('opens fifty connections with one token', async () => {
    const { gateway, login: loginWith } = await start()
    const login = loginWith({ user: ACCOUNT, reuseTokenSecs: 3_600 })
    const pool = createPool(login, { max: 50 })
    await Promise.all(Array.from({ length: 50 }, () => pool.query('SELECT pg_sleep(0.05)')))
    await pool.end()
    expect(gateway.stats().loginsAccepted).toBeGreaterThan(1)
    expect(gateway.stats().distinctTokens).toBe(1)
    expect(login.stats()).toMatchObject({ tokensMade: 1, credentialCalls: 1 })
  })
})

describe('a login to a cloud-sql endpoint', () => {
  it.each<[string, string, () => string]>([
    ['of another user', 'user-wrong', () => tokens.issue(JANE).value],
    ['of another account', 'principal-unknown', () => tokens.issue('eve@example.com').value],
    [
      'for other scopes',
      'scope-wrong',
      () => tokens.issue(ACCOUNT, { scopes: [EMAIL_SCOPE] }).value,
    ],
    ['that was never issued', 'token-unknown', () => 'ya29.c.CANARY'],
    ['that has ended', 'token-unknown', () => tokens.issue(ACCOUNT, { lifeSecs: 0 }).value],
  ])('with a token %s is refused and logged with the reason %s', async (_title, reason, make) => {
    const { gateway, log, login } = await start()
    const value = make()
    const error = await rejectionOf(
      currentUser(login({ user: ACCOUNT, credentials: clientOf(value) })),
    )
    expect(error).toMatchObject({
      severity: 'FATAL',
      code: '28000',
      message: 'Cloud SQL IAM service account authentication failed for user "app@shop.iam"',
      hint: expect.stringContaining('roles/cloudsql.instanceUser'),
    })
    expect((await log.refusal(reason)).details).toMatchObject({ role: 'app@shop.iam' })
    expect(gateway.stats().refusals).toEqual({ [reason]: 1 })
    expect(printed(error) + printed(log.lines)).not.toContain(value)
  })

  it('with a revoked token is refused, and open sessions continue', async () => {
    const { gateway, login } = await start()
    const { value } = tokens.issue(ACCOUNT)
    const pool = createPool(login({ user: ACCOUNT, credentials: clientOf(value) }), { max: 2 })
    const open = await pool.connect()
    tokens.revoke(value)
    await expect(pool.connect()).rejects.toMatchObject({ code: '28000' })
    expect((await open.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    open.release()
    await pool.end()
    expect(gateway.stats().refusals).toEqual({ 'token-unknown': 1 })
  })

  it('is refused while the token info URL is unreachable, and accepted afterwards', async () => {
    const { gateway, log, login: loginWith } = await start()
    const login = loginWith({ user: ACCOUNT })
    google.intercept(() => ({ status: 503, body: 'later' }))
    await expect(currentUser(login)).rejects.toMatchObject({ code: '28000' })
    await log.refusal('verifier-failed')
    google.intercept(() => undefined)
    expect(await currentUser(login)).toEqual({ me: 'app@shop.iam' })
    expect(gateway.stats().refusals).toEqual({ 'verifier-failed': 1 })
  })
})

describe('a gateway that issues its own Google tokens', () => {
  const options: CloudSqlEndpoint = {
    provider: 'cloud-sql',
    hosts: [HOST],
    principals: [ACCOUNT, JANE],
  }

  it('creates logins with tokens of its first principal', async () => {
    const gateway = await postgres.start({ endpoints: [options], roles: ROLES })
    const login = gateway.login()
    expect(login).toMatchObject({ provider: 'cloud-sql', host: HOST, user: 'app@shop.iam' })
    expect(await currentUser(login)).toEqual({ me: 'app@shop.iam' })
    await expect(
      currentUser(gateway.login({ user: JANE, reuseTokenSecs: 0 })),
    ).rejects.toMatchObject({
      code: '28000',
    })
    expect(gateway.stats().refusals).toEqual({ 'user-wrong': 1 })
    expect(printed(login) + printed(gateway)).not.toContain((await login.token()).value)
  })

  it('refuses its own expired tokens, and the login requests a new one', async () => {
    let now = Date.now()
    const gateway = await postgres.start({ endpoints: [options], roles: ROLES, clock: () => now })
    const login = gateway.login()
    expect(await currentUser(login)).toEqual({ me: 'app@shop.iam' })
    now += 3_600_000
    expect(await currentUser(login)).toEqual({ me: 'app@shop.iam' })
    expect(gateway.stats().refusals).toEqual({ 'token-expired': 1 })
    expect(login.stats().tokensMade).toBe(2)
  })
})
