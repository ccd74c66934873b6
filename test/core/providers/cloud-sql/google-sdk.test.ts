import { GoogleAuth } from 'google-auth-library'
import { cloudSql } from '../../../../core/index.js'
import { startGceMetadata, type GceMetadata } from '../../../support/issuers/gce-metadata.js'
import { LOGIN_SCOPE, createGoogleTokens } from '../../../support/issuers/google-tokens.js'
import type { LoopbackAnswer } from '../../../support/issuers/loopback-server.js'
import { rejectionOf } from '../../support/caught.js'
import { printed } from '../../support/printed.js'

const HOST = '1a23b4c5d67e.2s8t1qqyvjq7l.us-central1.sql.goog'
const ACCOUNT = 'app@shop.iam.gserviceaccount.com'
const surroundings = process.env
const tokens = createGoogleTokens()

let metadata: GceMetadata
let intercept: () => LoopbackAnswer | undefined
beforeAll(async () => {
  metadata = await startGceMetadata({ tokens, email: ACCOUNT, intercept: () => intercept() })
})
afterAll(() => metadata?.close())
beforeEach(() => {
  // Without a home directory there are no credentials of the user who runs the test.
  process.env = { ...metadata.env, HOME: '/nonexistent', CLOUDSDK_CONFIG: '/nonexistent' }
  intercept = () => undefined
})
afterEach(() => {
  process.env = surroundings
})

describe('application default credentials', () => {
  it("provide a token of the machine's service account with only the login scope, and its name", async () => {
    const login = cloudSql({ host: HOST })
    const made = await Promise.all(Array.from({ length: 20 }, () => login.token()))
    expect(new Set(made.map(({ value }) => value)).size).toBe(1)
    expect(tokens.find(made[0]!.value)).toMatchObject({ email: ACCOUNT, scopes: [LOGIN_SCOPE] })
    expect(Math.abs(made[0]!.expiresAt.getTime() - Date.now() - 3_600_000)).toBeLessThan(10_000)
    expect(login.user).toBe('app@shop.iam')
    expect(metadata.scopes).toEqual([[LOGIN_SCOPE]])
  })

  it('are requested again for the next connection after a failure', async () => {
    const login = cloudSql({ host: HOST, user: ACCOUNT })
    intercept = () => ({ status: 404, headers: { 'metadata-flavor': 'Google' }, body: 'CANARY' })
    expect(await rejectionOf(login.token())).toMatchObject({
      code: 'ERR_TOKEN_REQUEST_FAILED',
      message: `cloud-sql: could not get a token for ${HOST}`,
      cause: expect.any(Error),
    })
    intercept = () => undefined
    await login.token()
    expect(login.stats()).toMatchObject({ tokensMade: 1, tokensFailed: 1 })
  })

  it('are reported with the sources that were tried if there are none', async () => {
    process.env = { HOME: '/nonexistent', METADATA_SERVER_DETECTION: 'none' }
    const error = await rejectionOf(cloudSql({ host: HOST, user: ACCOUNT }).token())
    expect(error).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      message: 'cloud-sql: could not find Google credentials',
      hint: expect.stringContaining('GOOGLE_APPLICATION_CREDENTIALS'),
      cause: expect.any(Error),
    })
  })
})

describe('a given GoogleAuth', () => {
  it('is used unchanged', async () => {
    const scopes = [LOGIN_SCOPE, 'https://www.googleapis.com/auth/userinfo.email']
    const login = cloudSql({ host: HOST, credentials: new GoogleAuth({ scopes }) })
    const token = await login.token()
    expect(tokens.find(token.value)?.scopes).toEqual(scopes)
    expect(token.user).toBe('app@shop.iam')
    expect(printed(login)).not.toContain(token.value)
  })

  it('may return a single client', async () => {
    const auth = new GoogleAuth({ scopes: [LOGIN_SCOPE] })
    const login = cloudSql({ host: HOST, user: ACCOUNT, credentials: () => auth.getClient() })
    expect(tokens.find((await login.token()).value)?.email).toBe(ACCOUNT)
  })
})
