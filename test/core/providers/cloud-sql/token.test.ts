import { OAuth2Client } from 'google-auth-library'
import { cloudSql, type CloudSqlOptions, type Login } from '../../../../core/index.js'
import { createCloudSql } from '../../../../core/providers/cloud-sql/cloud-sql.js'
import { startGoogleTokenInfo } from '../../../support/issuers/google-token-info.js'
import { createGoogleTokens } from '../../../support/issuers/google-tokens.js'
import { rejectionOf } from '../../support/caught.js'
import { printed } from '../../support/printed.js'

const HOST = '1a23b4c5d67e.2s8t1qqyvjq7l.us-central1.sql.goog'
const ACCOUNT = 'app@shop.iam.gserviceaccount.com'
const END = Date.now() + 3_600_000

type Credentials = NonNullable<CloudSqlOptions['credentials']>

/** An auth client that returns this token, and counts its calls. */
function client(token: unknown = 'CANARY', expiry_date: unknown = END) {
  const made = {
    calls: 0,
    credentials: { expiry_date },
    getAccessToken: async () => {
      made.calls++
      return Promise.resolve({ token })
    },
  }
  return made
}

const login = (credentials: unknown, options: CloudSqlOptions = {}): Login =>
  cloudSql({ host: HOST, credentials: credentials as Credentials, ...options })

describe('a token of cloudSql', () => {
  it('is that of the auth client, with its expiry', async () => {
    const own = login(client(), { user: ACCOUNT })
    const token = await own.token()
    expect(token).toMatchObject({ value: 'CANARY', expiresAt: new Date(END) })
    expect([token.user, own.user]).toEqual([undefined, 'app@shop.iam'])
    expect(printed(token) + printed(own)).not.toContain('CANARY')
  })

  it('is shared until it nears its expiry', async () => {
    let now = Date.now()
    const credentials = client()
    const own = createCloudSql(
      { host: HOST, user: 'app', credentials: credentials as never },
      {},
      () => now,
    )
    await Promise.all(Array.from({ length: 50 }, () => own.token()))
    now = END - 61_000
    await own.token()
    expect(credentials.calls).toBe(1)
    now = END - 59_000
    await own.token()
    expect(credentials.calls).toBe(2)
  })

  it.each<[string, (made: unknown) => unknown]>([
    ['a GoogleAuth', (made) => ({ getClient: async () => Promise.resolve(made) })],
    ['a function', (made) => () => made],
    ['a function that promises', (made) => async () => Promise.resolve(made)],
  ])('is requested from %s', async (_what, wrap) => {
    const token = await login(wrap(client()), { user: 'app' }).token()
    expect(token.value).toBe('CANARY')
  })

  it('is requested from a function that is called once, and again after a failure', async () => {
    let asked = 0
    const credentials = () => {
      if (++asked === 1) throw new Error('vault is sealed')
      return client()
    }
    const own = login(credentials, { user: 'app', reuseTokenSecs: 0 })
    expect(await rejectionOf(own.token())).toMatchObject({
      code: 'ERR_TOKEN_REQUEST_FAILED',
      message: `cloud-sql: could not get a token for ${HOST}`,
      cause: new Error('vault is sealed'),
    })
    await own.token()
    await own.token()
    expect(asked).toBe(2)
  })

  it.each<[string, unknown, string]>([
    ['null as credentials', () => null, 'ERR_CREDENTIALS_UNAVAILABLE'],
    ['an object that has no credentials', () => ({}), 'ERR_CREDENTIALS_UNAVAILABLE'],
    [
      'a GoogleAuth without a client',
      { getClient: () => Promise.reject(new Error('none')) },
      'ERR_CREDENTIALS_UNAVAILABLE',
    ],
    ['a missing token', client(null), 'ERR_TOKEN_INVALID'],
    ['an empty token', client(''), 'ERR_TOKEN_INVALID'],
    ['a token without an expiry', client('CANARY', null), 'ERR_TOKEN_INVALID'],
    ['a token with NaN as its expiry', client('CANARY', NaN), 'ERR_TOKEN_INVALID'],
    ['an expired token', client('CANARY', 1), 'ERR_TOKEN_INVALID'],
  ])('is rejected for %s', async (_what, credentials, code) => {
    const error = await rejectionOf(login(credentials, { user: 'app' }).token())
    expect(error).toMatchObject({ code })
    expect(printed(error)).not.toContain('CANARY')
  })
})

it('a cloudSql token without an expiry is rejected with a reason', async () => {
  expect(await rejectionOf(login(client('CANARY', null), { user: 'app' }).token())).toMatchObject({
    message: `cloud-sql: the token for ${HOST} is invalid: "expiry_date" must be a number of milliseconds, got null`,
  })
})

describe('the user of a token', () => {
  const auth = (made: unknown, getCredentials: () => Promise<unknown>) => ({
    getClient: async () => Promise.resolve(made),
    getCredentials,
  })

  it.each<[string, unknown, string]>([
    [
      'the account of GoogleAuth',
      auth(client(), async () => Promise.resolve({ client_email: ACCOUNT })),
      'app@shop.iam',
    ],
    ['the account of a key', { ...client(), email: ACCOUNT }, 'app@shop.iam'],
    [
      "the account in Google's token info",
      auth(
        { ...client(), getTokenInfo: async () => Promise.resolve({ email: 'jane@example.com' }) },
        async () => Promise.resolve({}),
      ),
      'jane@example.com',
    ],
    [
      'the account of a key, if GoogleAuth has none',
      auth({ ...client(), email: ACCOUNT }, () => Promise.reject(new Error('none'))),
      'app@shop.iam',
    ],
  ])('is %s', async (_what, credentials, user) => {
    const own = login(credentials)
    expect(own.user).toBeUndefined()
    expect((await own.token()).user).toBe(user)
    expect(own.user).toBe(user)
  })

  it.each<[string, unknown]>([
    ['no source has it', client()],
    ['the account is not an e-mail address', { ...client(), email: 'default' }],
    ['the address contains a NUL', { ...client(), email: 'a\u0000b@example.com' }],
    ['the address ends with a NUL', { ...client(), email: 'a@example.com\u0000' }],
    [
      "Google's token info has none",
      { ...client(), getTokenInfo: () => Promise.reject(new Error('invalid_token')) },
    ],
  ])('is required if %s', async (_what, credentials) => {
    expect(await rejectionOf(login(credentials).token())).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      message: `cloud-sql: could not determine the account of the token for ${HOST}`,
      hint: expect.stringMatching(/^Give "user"/),
    })
  })

  it("is requested from Google for the SDK's client of a user account", async () => {
    const tokens = createGoogleTokens()
    const info = await startGoogleTokenInfo(tokens)
    const { value, expiresAt } = tokens.issue('jane@example.com')
    const credentials = new OAuth2Client({ endpoints: { tokenInfoUrl: info.url } })
    credentials.setCredentials({ access_token: value, expiry_date: expiresAt })
    const token = await login(credentials).token()
    expect([token.value, token.user]).toEqual([value, 'jane@example.com'])
    expect(info.requests).toEqual(['POST /tokeninfo'])
    await info.close()
  })
})
