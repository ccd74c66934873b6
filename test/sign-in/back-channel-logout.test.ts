/** Tokens of an issuer that sends anything. Of logout tokens, each deviation is refused, and ends no session. */
import { SignJWT } from 'jose'
import { createSignIn, memoryStore, type Session, type SignIn } from '../../sign-in/index.js'
import {
  type LoopbackAnswer,
  type LoopbackServer,
  startLoopback,
} from '../support/issuers/loopback-server.js'
import { createSigningKeys, type SigningKeys } from '../support/issuers/signing-keys.js'

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const URL_OF_LOGOUT = 'http://localhost:3999/back-channel-logout'
let keys: SigningKeys
let issuer: LoopbackServer
let signIn: SignIn
let logged: string[]
let answersKeys = true
/** The answer of the token endpoint. */
let tokens: (form: URLSearchParams) => LoopbackAnswer

beforeAll(async () => {
  keys = await createSigningKeys()
  issuer = await startLoopback(({ path, form }) => {
    if (path === '/token') return tokens(form)
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

/** Begins a sign-in, and resolves with the callback's request for it, and the nonce of its ID token. */
async function begin(): Promise<{ callback: Request; nonce: string }> {
  const started = await signIn.start(new Request('http://localhost:3999/sign-in'))
  const { searchParams } = new URL(started.headers.get('location')!)
  const [cookie] = started.headers.getSetCookie()[0]!.split(';')
  const url = `http://localhost:3999/callback?code=${CODE}&state=${searchParams.get('state')}`
  return {
    callback: new Request(url, { headers: { cookie: cookie! } }),
    nonce: searchParams.get('nonce')!,
  }
}

const CODE = 'the-code-of-alice'

async function answerOf(idClaims: object): Promise<LoopbackAnswer> {
  const { jti: _jti, events: _events, ...others } = claims(idClaims)
  const rest = { token_type: 'Bearer', access_token: 'access', refresh_token: 'refresh' }
  return { body: { ...rest, expires_in: 60, id_token: await keys.sign(others) } }
}

/** Signs in, and resolves with the cookie of the session. */
async function signedIn(idClaims: object = {}): Promise<string> {
  const { callback, nonce } = await begin()
  const answer = await answerOf({ nonce, ...idClaims })
  tokens = () => answer
  const response = await signIn.callback(callback)
  expect(response.status).toBe(303)
  return response.headers.getSetCookie()[0]!.split(';')[0]!
}

const sessionOf = (cookie: string): Promise<Session | undefined> =>
  signIn.session(new Request('http://localhost:3999/', { headers: { cookie } }))

describe('the claims of a session', () => {
  it('are those of the last ID token, except the claims that describe the sign-in', async () => {
    const soon = now() + 15
    const cookie = await signedIn({ exp: soon, groups: ['admins'], sid: 'one', name: 'Alice' })
    const answer = await answerOf({ name: 'Alice Smith' })
    tokens = () => answer
    const { groups, sid, name } = (await sessionOf(cookie))!.claims
    expect({ groups, sid, name }).toEqual({ sid: 'one', name: 'Alice Smith' })
  })
})

describe('an error of the token endpoint', () => {
  it('is reported without the code and the verifier that it repeats', async () => {
    const { callback } = await begin()
    let verifier = ''
    tokens = (form) => {
      verifier = form.get('code_verifier')!
      const text = `no grant for ${form.get('code')} with ${verifier}`
      return { status: 400, body: { error: 'invalid_request', error_description: text } }
    }
    expect((await signIn.callback(callback)).status).toBe(400)
    expect(logged.join()).toContain('no grant for *** with ***')
    expect(verifier).toHaveLength(43)
    expect(logged.join()).not.toContain(verifier)
  })

  it.each([{ error: 'invalid_request', error_description: 7 }, { error: 8 }, [], 'text', null])(
    'is an error page, also for %j',
    async (body) => {
      const { callback } = await begin()
      tokens = () => ({ status: 400, body })
      const response = await signIn.callback(callback)
      expect([response.status, await response.text()]).toEqual([
        expect.any(Number),
        expect.stringContaining('ERR_SIGN_IN_'),
      ])
    },
  )
})

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

  it('ends the sessions of the latest of several that come in another order', async () => {
    const cookie = await signedIn({ iat: now() - 50 })
    const [newer, older] = [await signed(), await signed({ iat: now() - 100 })]
    expect((await send(newer)).status).toBe(200)
    expect((await send(older)).status).toBe(200)
    expect(await sessionOf(cookie)).toBeUndefined()
  })

  it('does not end a session that begins after it has come', async () => {
    expect((await send(await signed())).status).toBe(200)
    expect(await sessionOf(await signedIn())).toBeDefined()
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
