/** Logout tokens of an issuer that sends anything: each deviation is refused, and ends no session. */
import { SignJWT } from 'jose'
import { createSignIn, memoryStore, type SignIn } from '../../sign-in/index.js'
import { type LoopbackServer, startLoopback } from '../support/issuers/loopback-server.js'
import { createSigningKeys, type SigningKeys } from '../support/issuers/signing-keys.js'

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const URL_OF_LOGOUT = 'http://localhost:3999/back-channel-logout'
let keys: SigningKeys
let issuer: LoopbackServer
let signIn: SignIn
let logged: string[]
let answersKeys = true

beforeAll(async () => {
  keys = await createSigningKeys()
  issuer = await startLoopback(({ path }) => {
    if (path === '/.well-known/openid-configuration') {
      return {
        body: {
          issuer: issuer.url,
          jwks_uri: `${issuer.url}/jwks`,
          authorization_endpoint: `${issuer.url}/auth`,
          token_endpoint: `${issuer.url}/token`,
          response_types_supported: ['code'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: ['RS256', 'HS256', 'none'],
        },
      }
    }
    return answersKeys ? { body: keys.published() } : { status: 503, body: {} }
  })
})
afterAll(() => issuer.close())
beforeEach(() => {
  answersKeys = true
  logged = []
  const log = (message: string, details?: object): void =>
    void logged.push(`${message} ${JSON.stringify(details)}`)
  signIn = createSignIn({
    issuer: issuer.url,
    clientId: 'dashboard',
    clientSecret: 'a secret of 32 characters or more',
    redirectUri: 'http://localhost:3999/callback',
    keys: ['k'.repeat(43)],
    store: memoryStore(),
    credentials: () => () => ({ accessKeyId: 'AKIA', secretAccessKey: 'secret' }),
    logger: { debug: log, info: log, warn: log, error: log },
  })
})
afterEach(() => signIn.close())

const now = (): number => Math.floor(Date.now() / 1_000)
let lastId = 0

/** A valid logout token, with changed claims. */
function claims(changes: object = {}): Record<string, unknown> {
  return {
    iss: issuer.url,
    aud: 'dashboard',
    iat: now(),
    exp: now() + 120,
    jti: `token-${++lastId}`,
    sub: 'alice',
    events: { [EVENT]: {} },
    ...changes,
  }
}

const signed = (changes: object = {}, header: object = { typ: 'logout+jwt' }): Promise<string> =>
  keys.sign(claims(changes), { header: header as Record<string, unknown> })

const send = (token: string | undefined, init: RequestInit = {}): Promise<Response> =>
  signIn.backChannelLogout(
    new Request(URL_OF_LOGOUT, {
      method: 'POST',
      body: new URLSearchParams(token === undefined ? {} : { logout_token: token }),
      ...init,
    }),
  )

async function expectRefused(response: Response, reason: string, token = ''): Promise<void> {
  expect(response.headers.get('cache-control')).toBe('no-store')
  const body = await response.json()
  expect([response.status, body]).toEqual([
    400,
    { error: 'invalid_request', error_description: expect.stringContaining(reason) as string },
  ])
  expect(logged.join()).toContain('ERR_SIGN_IN_INVALID')
  if (token.length > 40) expect(logged.join()).not.toContain(token.slice(20, 60))
}

describe('a logout token', () => {
  it.each([
    ['with a subject', {}],
    ['with a session', { sub: undefined, sid: 'one' }],
    ['for several audiences', { aud: ['dashboard', 'other'] }],
  ])('is accepted %s, and answered with 200 that no cache keeps', async (_what, changes) => {
    const response = await send(await signed(changes))
    expect([response.status, response.headers.get('cache-control')]).toEqual([200, 'no-store'])
  })

  it.each(['JWT', undefined])(
    'is accepted with the type %s, which some providers send',
    async (typ) => {
      expect((await send(await signed({}, { typ }))).status).toBe(200)
    },
  )

  it.each<[string, object, string]>([
    ['of another issuer', { iss: 'https://evil.example' }, '"iss"'],
    ['for another client', { aud: 'other' }, '"aud"'],
    ['that has expired', { exp: now() - 60 }, '"exp"'],
    ['without an end', { exp: undefined }, '"exp"'],
    ['without a time', { iat: undefined }, '"iat"'],
    ['without an ID', { jti: undefined }, '"jti"'],
    ['whose ID is no text', { jti: 7 }, '"jti"'],
    ['without events', { events: undefined }, '"events"'],
    ['with another event', { events: { 'http://example.com/event': {} } }, 'no event'],
    ['whose event is no object', { events: { [EVENT]: 'x' } }, 'no event'],
    ['with a nonce, as ID tokens have', { nonce: 'x' }, 'nonce'],
    ['with neither user nor session', { sub: undefined }, 'neither'],
  ])('is refused %s', async (_what, changes, reason) => {
    const token = await signed(changes)
    await expectRefused(await send(token), reason, token)
  })

  it('is refused with the type of an access token', async () => {
    const token = await signed({}, { typ: 'at+jwt' })
    await expectRefused(await send(token), 'type', token)
  })

  it('is refused without a signature, with the secret of the client, and with a key that is not published', async () => {
    const none = `${Buffer.from('{"alg":"none","typ":"logout+jwt"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims())).toString('base64url')}.`
    await expectRefused(await send(none), '')
    const symmetric = await new SignJWT(claims())
      .setProtectedHeader({ alg: 'HS256', typ: 'logout+jwt' })
      .sign(new TextEncoder().encode('a secret of 32 characters or more'))
    await expectRefused(await send(symmetric), '"alg"', symmetric)
    const strange = await (
      await createSigningKeys()
    ).sign(claims(), { header: { typ: 'logout+jwt' } })
    await expectRefused(await send(strange), 'no applicable key', strange)
  })

  it('is refused a second time', async () => {
    const token = await signed()
    expect((await send(token)).status).toBe(200)
    await expectRefused(await send(token), 'used before', token)
  })

  it.each<[string, string | undefined, RequestInit, string]>([
    ['without a token', undefined, {}, 'no "logout_token"'],
    [
      'with two tokens',
      undefined,
      {
        body: new URLSearchParams([
          ['logout_token', 'a'],
          ['logout_token', 'b'],
        ]),
      },
      'or several',
    ],
    ['that is no token', 'x', {}, ''],
    [
      'that is no form',
      undefined,
      { body: '{}', headers: { 'content-type': 'application/json' } },
      'no form',
    ],
    ['that is too long', 'x'.repeat(70_000), {}, 'too long'],
  ])('is refused in a request %s', async (_what, token, init, reason) => {
    await expectRefused(await send(token, init), reason)
  })

  it('is answered with 503 while the keys of the provider cannot be fetched, so that it sends it again', async () => {
    answersKeys = false
    expect((await send(await signed())).status).toBe(503)
    answersKeys = true
  })
})
