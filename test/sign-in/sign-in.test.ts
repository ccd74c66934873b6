import { inspect } from 'node:util'
import { auroraDsql } from '../../core/index.js'
import {
  createSignInAt,
  type SignIn,
  type SignInOptions,
  type SignOutOptions,
} from '../../sign-in/sign-in.js'
import { createMemoryStore, type SessionStore } from '../../sign-in/session-store.js'
import type { Session } from '../../sign-in/sessions.js'
import { eventually } from '../support/eventually.js'
import { Browser, type ProviderProcess, startProvider } from './identity-provider.js'

const ORIGIN = 'http://localhost:3999'
const CLIENT = {
  client_id: 'dashboard',
  client_secret: 'a secret of the dashboard',
  redirect_uris: [`${ORIGIN}/callback`],
  post_logout_redirect_uris: [`${ORIGIN}/`],
  grant_types: ['authorization_code', 'refresh_token'],
}
const KEY = 'k'.repeat(43)
const HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'

let provider: ProviderProcess
/** How much the clock of the application is ahead. It runs: a slow machine may take a minute for a test. */
let aheadMs = 0
const clock = (): number => Date.now() + aheadMs
let store: SessionStore
let signIn: SignIn
let logged: string[]

beforeAll(async () => {
  provider = await startProvider({ clients: [CLIENT] })
})
afterAll(() => provider.close())

beforeEach(() => {
  aheadMs = 0
  logged = []
  store = createMemoryStore({}, clock)
  signIn = create()
})
afterEach(() => signIn.close())

function create(options: Partial<SignInOptions> = {}): SignIn {
  const log = (message: string, details?: object): void =>
    void logged.push(`${message} ${JSON.stringify(details)}`)
  return createSignInAt(
    {
      issuer: provider.issuer,
      clientId: 'dashboard',
      clientSecret: 'a secret of the dashboard',
      redirectUri: `${ORIGIN}/callback`,
      keys: [KEY],
      store,
      credentials: () => () => ({ accessKeyId: 'AKIA', secretAccessKey: 'secret' }),
      logger: { debug: log, info: log, warn: log, error: log },
      ...options,
    },
    clock,
  )
}

/** The callback's address after a sign-in at the provider. */
async function callbackOf(
  browser: Browser,
  user: string | undefined,
  returnTo = '/charts',
): Promise<string> {
  const url = `${ORIGIN}/sign-in?returnTo=${encodeURIComponent(returnTo)}`
  const started = browser.keep(url, await signIn.start(browser.request(url)))
  expect(started.status).toBe(303)
  return browser.signInAtProvider(started.headers.get('location')!, user)
}

async function signedIn(browser: Browser, user = 'alice'): Promise<Response> {
  const url = await callbackOf(browser, user)
  return browser.keep(url, await signIn.callback(browser.request(url)))
}

const sessionOf = (browser: Browser): Promise<Session | undefined> =>
  signIn.session(browser.request(`${ORIGIN}/`))

const page = (response: Response): Promise<string> => response.text()

/** Answers with the code, without a session, and with nothing secret in page and log. */
async function expectRefused(
  browser: Browser,
  callback: string,
  status: number,
  code: string,
): Promise<void> {
  const { searchParams } = new URL(callback)
  const secrets = [
    ...['code', 'state'].flatMap((name) => searchParams.getAll(name)),
    ...browser.cookies(ORIGIN).values(),
  ].filter((value) => value.length > 12)
  const response = browser.keep(callback, await signIn.callback(browser.request(callback)))
  const text = await page(response)
  expect({ status: response.status, text }).toEqual({ status, text: expect.stringContaining(code) })
  expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
  expect(logged.join('\n')).toContain(code)
  for (const secret of secrets) expect(text + logged.join('\n')).not.toContain(secret)
  expect(await sessionOf(browser)).toBeUndefined()
}

describe('a sign-in', () => {
  it('begins a session of the user, and goes on where it began', async () => {
    const browser = new Browser()
    expect(await sessionOf(browser)).toBeUndefined()
    const response = await signedIn(browser)
    expect(response.status).toBe(303)
    expect(response.headers.get('location')).toBe('/charts')
    expect(await sessionOf(browser)).toMatchObject({
      issuer: provider.issuer,
      subject: 'alice',
      claims: { sub: 'alice' },
    })
    const { signedInAt, expiresAt } = (await sessionOf(browser))!
    expect(expiresAt.getTime() - signedInAt.getTime()).toBe(43_200_000)
  })

  it('asks the provider with PKCE, state and nonce, which are in a cookie only this browser can read', async () => {
    const browser = new Browser()
    const url = `${ORIGIN}/sign-in`
    const started = await signIn.start(browser.request(url))
    const { origin, pathname, searchParams } = new URL(started.headers.get('location')!)
    expect(origin + pathname).toBe(`${provider.issuer}/auth`)
    expect(Object.fromEntries(searchParams)).toEqual({
      client_id: 'dashboard',
      response_type: 'code',
      redirect_uri: `${ORIGIN}/callback`,
      scope: 'openid offline_access',
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
    })
    const [cookie = ''] = started.headers.getSetCookie()
    expect(cookie).toMatch(
      /^__Host-pg-iam-attempt-[\w-]{16}=[\w.-]+; Path=\/; Max-Age=600; HttpOnly; Secure; SameSite=Lax$/,
    )
    expect(cookie).not.toContain(searchParams.get('state'))
    expect(started.headers.get('cache-control')).toBe('no-store')
    expect(started.headers.get('referrer-policy')).toBe('no-referrer')
  })

  it('gives the browser a random cookie, and another one with each sign-in', async () => {
    const browser = new Browser()
    const response = await signedIn(browser)
    expect(response.headers.getSetCookie()).toEqual([
      expect.stringMatching(
        /^__Host-pg-iam-session=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; Secure; SameSite=Lax$/,
      ),
      expect.stringMatching(/^__Host-pg-iam-attempt-[\w-]{16}=; Path=\/; Max-Age=0;/),
    ])
    const before = browser.cookies(ORIGIN).get('__Host-pg-iam-session')!
    const old = new Browser()
    old.setCookie(ORIGIN, '__Host-pg-iam-session', before)
    expect(await sessionOf(old)).toBeDefined()
    browser.forget(provider.issuer)
    await signedIn(browser, 'bob')
    expect(browser.cookies(ORIGIN).get('__Host-pg-iam-session')).not.toBe(before)
    expect(await sessionOf(browser)).toMatchObject({ subject: 'bob' })
    expect(await sessionOf(old)).toBeUndefined()
  })

  it.each([
    ['//evil.example/', '/'],
    ['https://evil.example/', '/'],
    ['/\\evil.example', '/'],
    ['/\t/evil.example', '/'],
    ['/a?b=c#d', '/a?b=c#d'],
    ['/../..//evil.example', '/'],
  ])('leads to no other site: returnTo=%j leads to %j', async (returnTo, expected) => {
    const browser = new Browser()
    const url = await callbackOf(browser, 'alice', returnTo)
    const response = await signIn.callback(browser.request(url))
    const location = response.headers.get('location')!
    expect(new URL(location, ORIGIN).origin).toBe(ORIGIN)
    expect(location).toBe(expected)
  })

  it('is answered with a page that says so if the user denies it', async () => {
    const browser = new Browser()
    const url = await callbackOf(browser, undefined)
    await expectRefused(browser, url, 403, 'ERR_SIGN_IN_DENIED')
  })

  it.each<[string, (url: URL) => void]>([
    ['a forged state', (url) => url.searchParams.set('state', 'x'.repeat(43))],
    ['no state', (url) => url.searchParams.delete('state')],
    ['two states', (url) => url.searchParams.append('state', 'x')],
  ])('is refused for a callback with %s', async (_what, change) => {
    const browser = new Browser()
    const url = new URL(await callbackOf(browser, 'alice'))
    change(url)
    await expectRefused(browser, url.href, 400, 'ERR_SIGN_IN_STATE')
  })

  it.each<[string, (url: URL) => void]>([
    ['another issuer', (url) => url.searchParams.set('iss', 'https://evil.example')],
    ['no issuer', (url) => url.searchParams.delete('iss')],
    ['a forged code', (url) => url.searchParams.set('code', 'x'.repeat(43))],
    ['no code', (url) => url.searchParams.delete('code')],
    ['two codes', (url) => url.searchParams.append('code', 'x'.repeat(43))],
  ])('is refused for a callback with %s', async (_what, change) => {
    const browser = new Browser()
    const url = new URL(await callbackOf(browser, 'alice'))
    change(url)
    await expectRefused(browser, url.href, 400, 'ERR_SIGN_IN_INVALID')
  })

  it('is refused in another browser, which has begun none or another one', async () => {
    const url = await callbackOf(new Browser(), 'alice')
    const other = new Browser()
    await expectRefused(other, url, 400, 'ERR_SIGN_IN_STATE')
    await callbackOf(other, 'bob')
    await expectRefused(other, url, 400, 'ERR_SIGN_IN_STATE')
  })

  it('is refused if the cookie of one attempt is given for another', async () => {
    const browser = new Browser()
    const url = await callbackOf(browser, 'alice')
    const [name] = browser.cookies(ORIGIN).keys()
    const other = new Browser()
    await callbackOf(other, 'bob')
    const [value] = other.cookies(ORIGIN).values()
    browser.setCookie(ORIGIN, name!, value!)
    await expectRefused(browser, url, 400, 'ERR_SIGN_IN_STATE')
  })

  it('is refused if a callback is used twice, also with its cookie, and at once', async () => {
    const browser = new Browser()
    const url = await callbackOf(browser, 'alice')
    const copy = new Browser()
    for (const [name, value] of browser.cookies(ORIGIN)) copy.setCookie(ORIGIN, name, value)
    const responses = await Promise.all([
      signIn.callback(browser.request(url)),
      signIn.callback(copy.request(url)),
    ])
    expect(responses.map(({ status }) => status).toSorted((one, other) => one - other)).toEqual([
      303, 400,
    ])
    await expectRefused(copy, url, 400, 'ERR_SIGN_IN_STATE')
  })

  it('exchanges its code once for two callbacks at once, however slow the store is', async () => {
    const own = await startProvider({ clients: [CLIENT], tokenSecs: 60 })
    const slowly = async <T>(work: () => Promise<T>): Promise<T> => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      return work()
    }
    await signIn.close()
    signIn = create({
      issuer: own.issuer,
      store: {
        get: (key) => slowly(() => store.get(key)),
        set: (key, value, ttl) => slowly(() => store.set(key, value, ttl)),
        touch: (key, ttl) => slowly(() => store.touch(key, ttl)),
        destroy: (key) => slowly(() => store.destroy(key)),
      },
    })
    const browser = new Browser()
    const url = await callbackOf(browser, 'alice')
    const responses = await Promise.all([1, 2].map(() => signIn.callback(browser.request(url))))
    const statuses = responses.map(({ status }) => status)
    expect(statuses.toSorted((one, other) => one - other)).toEqual([303, 400])
    browser.keep(url, responses[statuses.indexOf(303)]!)
    // The provider ends what it issued for a code that comes twice.
    aheadMs += 40_000
    expect(await sessionOf(browser)).toMatchObject({ subject: 'alice' })
    await own.close()
  })

  it('is refused if the code was exchanged already, by whoever got it', async () => {
    const browser = new Browser()
    const url = await callbackOf(browser, 'alice')
    const thief = create({ store: createMemoryStore({}, clock) })
    const copy = new Browser()
    for (const [name, value] of browser.cookies(ORIGIN)) copy.setCookie(ORIGIN, name, value)
    expect((await thief.callback(copy.request(url))).status).toBe(303)
    await expectRefused(browser, url, 400, 'ERR_SIGN_IN_INVALID')
    await thief.close()
  })

  it('is refused if it took too long', async () => {
    const browser = new Browser()
    const url = await callbackOf(browser, 'alice')
    aheadMs += 601_000
    await expectRefused(browser, url, 400, 'ERR_SIGN_IN_EXPIRED')
  })

  it('is refused with the secret of another client', async () => {
    await signIn.close()
    signIn = create({ clientSecret: 'another secret' })
    const browser = new Browser()
    const url = await callbackOf(browser, 'alice')
    await expectRefused(browser, url, 400, 'ERR_SIGN_IN_INVALID')
    expect(logged.join()).not.toContain('another secret')
  })

  it('works in several tabs at once, and keeps the cookies of five of them', async () => {
    const browser = new Browser()
    const first = await callbackOf(browser, 'alice', '/one')
    const second = await callbackOf(browser, 'alice', '/two')
    const twoTabs = [
      await signIn.callback(browser.request(second)),
      await signIn.callback(browser.request(first)),
    ]
    expect(twoTabs.map(({ headers }) => headers.get('location'))).toEqual(['/two', '/one'])
    for (let tab = 0; tab < 8; tab++) await callbackOf(browser, 'alice')
    expect(
      [...browser.cookies(ORIGIN).keys()].filter((name) => name.includes('attempt')),
    ).toHaveLength(5)
  })

  it('answers other methods with 405', async () => {
    const init = { method: 'POST', body: 'a=b' }
    for (const handler of [signIn.start, signIn.callback]) {
      const response = await handler(new Request(`${ORIGIN}/callback?state=x`, init))
      expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET'])
    }
    const got = await signIn.signOut(new Request(`${ORIGIN}/sign-out`))
    expect([got.status, got.headers.get('allow')]).toEqual([405, 'POST'])
    const asked = await signIn.backChannelLogout(new Request(`${ORIGIN}/logout`))
    expect([asked.status, asked.headers.get('allow')]).toEqual([405, 'POST'])
  })

  it("refuses a request of Node's own server, which is no Web Request", async () => {
    const request = { url: '/sign-in', method: 'GET', headers: { host: 'localhost' } } as never
    for (const handler of ['start', 'callback', 'session', 'signOut', 'backChannelLogout'] as const)
      await expect(signIn[handler](request)).rejects.toThrow('"request" must be a Web Request')
  })

  it('shows the page of the application for an error, if it has one', async () => {
    await signIn.close()
    signIn = create({ errorPage: ({ code }) => new Response(`ours: ${code}`, { status: 418 }) })
    const response = await signIn.callback(new Request(`${ORIGIN}/callback`))
    expect([response.status, await response.text()]).toEqual([418, 'ours: ERR_SIGN_IN_STATE'])
    expect(response.headers.get('cache-control')).toBe('no-store')
    await signIn.close()
    signIn = create({ errorPage: () => Response.redirect(`${ORIGIN}/failed`, 303) })
    const redirect = await signIn.callback(new Request(`${ORIGIN}/callback`))
    expect([redirect.status, redirect.headers.get('location')]).toEqual([303, `${ORIGIN}/failed`])
  })
})

describe('the clocks of application and provider', () => {
  it.each([20, -20])('may differ by %d seconds', async (clockOffsetSecs) => {
    const skewed = await startProvider({ clients: [CLIENT] }, { clockOffsetSecs })
    await signIn.close()
    signIn = create({ issuer: skewed.issuer })
    const browser = new Browser()
    expect((await signedIn(browser)).status).toBe(303)
    await skewed.close()
  })

  it.each([120, -400])('may not differ by %d seconds', async (clockOffsetSecs) => {
    const skewed = await startProvider({ clients: [CLIENT] }, { clockOffsetSecs })
    await signIn.close()
    signIn = create({ issuer: skewed.issuer })
    const browser = new Browser()
    const url = await callbackOf(browser, 'alice')
    await expectRefused(browser, url, 400, 'ERR_SIGN_IN_INVALID')
    await skewed.close()
  })
})

describe('a provider that is down', () => {
  it('is reported at the start and at the callback, and asked again with the next request', async () => {
    const down = await startProvider({ clients: [CLIENT] })
    const { port } = new URL(down.issuer)
    await signIn.close()
    signIn = create({ issuer: down.issuer })
    const browser = new Browser()
    const url = await callbackOf(browser, 'alice')
    await down.close()
    await expectRefused(browser, url, 503, 'ERR_SIGN_IN_UNAVAILABLE')
    await signIn.close()
    signIn = create({ issuer: down.issuer })
    const start = await signIn.start(browser.request(`${ORIGIN}/sign-in`))
    expect([start.status, await start.text()]).toEqual([
      503,
      expect.stringContaining('ERR_SIGN_IN_UNAVAILABLE'),
    ])
    const back = await startProvider({ clients: [CLIENT], port: Number(port) })
    expect((await signedIn(browser)).status).toBe(303)
    await back.close()
  })

  it('is reported if what answers is no OpenID provider', async () => {
    await signIn.close()
    signIn = create({ issuer: `${provider.issuer}/nowhere` })
    const response = await signIn.start(new Request(`${ORIGIN}/sign-in`))
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('ERR_SIGN_IN_INVALID')
  })
})

describe('a session', () => {
  it('ends when it was not used for a while, and at its end in any case', async () => {
    const browser = new Browser()
    const patient = await startProvider({ clients: [CLIENT], tokenSecs: 200_000 })
    await signIn.close()
    signIn = create({ issuer: patient.issuer })
    await signedIn(browser)
    for (let hour = 0; hour < 11; hour++) {
      aheadMs += 3_500_000
      expect(await sessionOf(browser)).toBeDefined()
    }
    aheadMs += 43_200_000 - 11 * 3_500_000
    expect(await sessionOf(browser)).toBeUndefined()

    await signedIn(browser)
    aheadMs += 3_601_000
    expect(await sessionOf(browser)).toBeUndefined()
    await patient.close()
  })

  it('of the shortest idle time lasts as long as it is used', async () => {
    const patient = await startProvider({ clients: [CLIENT], tokenSecs: 200_000 })
    await signIn.close()
    signIn = create({ issuer: patient.issuer, limits: { idleSecs: 60 } })
    const browser = new Browser()
    await signedIn(browser)
    for (let second = 0; second < 200; second += 20) {
      aheadMs += 20_000
      expect(await sessionOf(browser)).toBeDefined()
    }
    aheadMs += 61_000
    expect(await sessionOf(browser)).toBeUndefined()
    await patient.close()
  })

  it('is in the store in a form that is of no use to who can read the store', async () => {
    const values: string[] = []
    await signIn.close()
    signIn = create({
      store: {
        ...store,
        set: (key, value, ttl) => {
          values.push(key, value)
          return store.set(key, value, ttl)
        },
      },
    })
    const browser = new Browser()
    await signedIn(browser)
    const cookie = browser.cookies(ORIGIN).get('__Host-pg-iam-session')!
    expect(values.join()).not.toContain(cookie)
    expect(values.join()).not.toMatch(/alice|eyJhbGciOiJSUzI1NiI/)
  })

  it('cannot be moved to another cookie in the store', async () => {
    const entries = new Map<string, string>()
    const open: SessionStore = {
      get: async (key) => entries.get(key),
      set: async (key, value) => void entries.set(key, value),
      touch: async () => {},
      destroy: async (key) => void entries.delete(key),
    }
    await signIn.close()
    signIn = create({ store: open })
    const [alice, bob] = [new Browser(), new Browser()]
    await signedIn(alice, 'alice')
    const before = new Set(entries.keys())
    await signedIn(bob, 'bob')
    const [ofBob] = [...entries.keys()].filter(
      (key) => !before.has(key) && entries.get(key)!.length > 1_000,
    )
    const [ofAlice] = [...before].filter((key) => entries.get(key)!.length > 1_000)
    entries.set(ofBob!, entries.get(ofAlice!)!)
    expect(await sessionOf(bob)).toBeUndefined()
    expect(await sessionOf(alice)).toMatchObject({ subject: 'alice' })
  })

  it('is unknown to another application with the same store and keys', async () => {
    const browser = new Browser()
    await signedIn(browser)
    const others = [
      create({ clientId: 'other' }),
      create({ redirectUri: 'http://localhost:4000/callback' }),
      create({ issuer: 'http://localhost:4001' }),
    ]
    for (const other of others) {
      expect(await other.session(browser.request(`${ORIGIN}/`))).toBeUndefined()
      await other.close()
    }
    expect(await sessionOf(browser)).toBeDefined()
  })

  it('is not read from a cookie with a no-break space before its name, which a subdomain can set', async () => {
    const browser = new Browser()
    await signedIn(browser)
    const [[name, value]] = [...browser.cookies(ORIGIN)] as [[string, string]]
    const session = (cookie: string) =>
      signIn.session(new Request(ORIGIN, { headers: { cookie: `first=1; ${cookie}` } }))
    expect(await session(`${name}=${value}`)).toBeDefined()
    expect(await session(`\u00a0${name}=${value}`)).toBeUndefined()
  })

  it('gives each request its own copy of the claims', async () => {
    const browser = new Browser()
    await signedIn(browser)
    const { claims } = (await sessionOf(browser))!
    Object.assign(claims, { sub: 'changed' })
    expect((await sessionOf(browser))!.claims).toMatchObject({ sub: 'alice' })
  })

  it('is not loaded after close()', async () => {
    const browser = new Browser()
    await signedIn(browser)
    await signIn.close()
    await expect(sessionOf(browser)).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  it('shares logins and pools for the same options, in which objects of classes are the same object', async () => {
    const browser = new Browser()
    await signedIn(browser)
    const session = (await sessionOf(browser))!
    class Secret {
      readonly #value: number
      constructor(value: number) {
        this.#value = value
      }
      getTypeParser = (): number => this.#value
    }
    const login = session.login(auroraDsql, { host: HOST, user: 'app' })
    expect(session.login(auroraDsql, { host: HOST, user: 'app' })).toBe(login)
    const [one, two] = [new Secret(1), new Secret(2)] as never[]
    const pool = session.pool(login, { types: one })
    expect(session.pool(login, { types: one })).toBe(pool)
    expect(session.pool(login, { types: two })).not.toBe(pool)
    expect(() => session.pool(login, null as never)).toThrow('"config" must be an object')
  })

  it('survives a rotation of keys, and ends when its key is gone', async () => {
    const browser = new Browser()
    await signedIn(browser)
    await signIn.close()
    signIn = create({ keys: ['n'.repeat(43), KEY] })
    expect(await sessionOf(browser)).toMatchObject({ subject: 'alice' })
    await signIn.close()
    signIn = create({ keys: ['n'.repeat(43)] })
    expect(await sessionOf(browser)).toBeUndefined()
  })

  it('shows no token to who prints it', async () => {
    const browser = new Browser()
    await signedIn(browser)
    const session = (await sessionOf(browser))!
    const printed = inspect(session, { depth: 10, showHidden: true }) + JSON.stringify(session)
    expect(printed).toContain('alice')
    expect(printed).not.toMatch(/eyJ/)
    expect(printed).not.toContain(browser.cookies(ORIGIN).get('__Host-pg-iam-session'))
  })
})

describe('a session that nobody uses any more', () => {
  let patient: ProviderProcess
  beforeAll(async () => {
    patient = await startProvider({ clients: [CLIENT], tokenSecs: 200_000 })
  })
  afterAll(() => patient.close())
  beforeEach(async () => {
    await signIn.close()
    signIn = create({ issuer: patient.issuer })
  })

  it('gives no login and runs no query after it has expired, also through a session object that was kept', async () => {
    const browser = new Browser()
    await signedIn(browser)
    const session = (await sessionOf(browser))!
    const login = session.login(auroraDsql, { host: HOST, user: 'app' })
    const pool = session.pool(login)
    aheadMs += 3_602_000
    const ended = { code: 'ERR_SESSION_ENDED' }
    await expect(pool.query('SELECT 1')).rejects.toMatchObject(ended)
    const other = { host: HOST, user: 'other' }
    expect(() => session.login(auroraDsql, other)).toThrow(expect.objectContaining(ended))
    expect(() => session.pool(login, { max: 2 })).toThrow(expect.objectContaining(ended))
  })

  it('is dropped with its pools although its browser never comes back', async () => {
    // All but setInterval().
    jest.useFakeTimers({
      doNotFake: [
        ...(['Date', 'hrtime', 'nextTick', 'performance', 'queueMicrotask'] as const),
        ...(['setImmediate', 'clearImmediate', 'setTimeout', 'clearTimeout'] as const),
      ],
    })
    try {
      const browser = new Browser()
      await signedIn(browser)
      await sessionOf(browser)
      jest.advanceTimersByTime(60_000)
      expect(logged.join('\n')).not.toContain('a session has ended')
      aheadMs += 3_602_000
      jest.advanceTimersByTime(60_000)
      expect(logged.join('\n')).toContain('a session has ended')
    } finally {
      jest.useRealTimers()
    }
  })
})

describe('the tokens of a session', () => {
  const SHORT = { clients: [CLIENT], tokenSecs: 60 }
  let isBroken = false

  it('are refreshed when they expire, once for many requests and processes, with rotation', async () => {
    const own = await startProvider({ clients: [CLIENT], tokenSecs: 300 })
    let written = 0
    const counted = {
      ...store,
      // The session, which is longer than any note.
      set: (key: string, value: string, ttl: number) => {
        if (value.length > 1_000) written++
        return store.set(key, value, ttl)
      },
    }
    await signIn.close()
    signIn = create({ issuer: own.issuer, store: counted })
    const other = create({ issuer: own.issuer, store: counted })
    const browser = new Browser()
    await signedIn(browser)
    const request = browser.request(`${ORIGIN}/`)
    for (const refreshes of [1, 2]) {
      const before = (await signIn.session(request.clone()))!
      own.advance(280_000)
      aheadMs += 280_000
      const sessions = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? signIn : other).session(request.clone()),
        ),
      )
      expect(sessions.map((session) => session?.subject)).toEqual(Array(20).fill('alice'))
      const times = sessions.map((session) => session!.tokensExpireAt.getTime())
      expect(new Set(times).size).toBe(1)
      expect(times[0]).toBeGreaterThan(before.tokensExpireAt.getTime())
      // The first is that of the sign-in. A second use of a rotated token would have ended the session.
      expect(written).toBe(1 + refreshes)
    }
    await other.close()
    await own.close()
  })

  it('end the session if the provider refuses to refresh them, with its logins and pools', async () => {
    const browser = new Browser()
    const own = await startProvider(SHORT)
    const { port } = new URL(own.issuer)
    await signIn.close()
    signIn = create({ issuer: own.issuer })
    await signedIn(browser)
    const session = (await sessionOf(browser))!
    const login = session.login(auroraDsql, {
      host: HOST,
      user: 'app',
    })
    const pool = session.pool(login)
    await expect(login.token()).resolves.toBeDefined()
    // The provider forgets all grants, as it does when they are revoked.
    await own.close()
    const next = await startProvider({ ...SHORT, port: Number(port) })
    aheadMs += 40_000
    expect(await sessionOf(browser)).toBeUndefined()
    await expect(pool.query('SELECT 1')).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
    await expect(login.token()).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
    expect(() => session.login(auroraDsql, { host: HOST })).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_ENDED' }),
    )
    await next.close()
  })

  it('are refreshed by one process also if the provider takes nearly all of its time limits', async () => {
    const browser = new Browser()
    const own = await startProvider(SHORT)
    await signIn.close()
    let reads = 0
    const other = create({
      issuer: own.issuer,
      store: { ...store, get: (key) => (reads++, store.get(key)) },
    })
    let others: Promise<Session | undefined> | undefined
    let isRefreshing = false
    signIn = create({
      issuer: own.issuer,
      store: {
        ...store,
        async set(key, value, ttl) {
          // The session, which is longer than any note.
          if (isRefreshing && value.length > 1_000) {
            isRefreshing = false
            aheadMs += 20_000
            others = other.session(browser.request(`${ORIGIN}/`))
            await Promise.race([others, eventually('the other process to wait', () => reads > 14)])
          }
          await store.set(key, value, ttl)
        },
      },
    })
    await signedIn(browser)
    aheadMs += 40_000
    isRefreshing = true
    expect(await sessionOf(browser)).toBeDefined()
    expect(await others).toMatchObject({ subject: 'alice' })
    await other.close()
    await own.close()
  })

  it.each<[string, (reads: string[]) => Partial<SessionStore>]>([
    [
      'the store fails to write them',
      () => ({
        async set(key, value, ttl) {
          if (isBroken && value.length > 1_000) throw new Error('the store is down')
          await store.set(key, value, ttl)
        },
      }),
    ],
    [
      'the store answers with the old ones once',
      (reads) => ({
        async get(key) {
          const value = await store.get(key)
          if (value === undefined || value.length < 1_000) return value
          if (reads.at(-1) !== value) reads.push(value)
          return isBroken ? (reads.at(-2) ?? value) : value
        },
      }),
    ],
  ])('do not end the session if %s', async (_what, broken) => {
    const browser = new Browser()
    const own = await startProvider({ clients: [CLIENT], tokenSecs: 300 })
    await signIn.close()
    isBroken = false
    signIn = create({ issuer: own.issuer, store: { ...store, ...broken([]) } })
    await signedIn(browser)
    for (let turn = 0; turn < 4; turn++) {
      own.advance(280_000)
      aheadMs += 280_000
      isBroken = turn % 2 === 0
      expect(await sessionOf(browser)).toMatchObject({ subject: 'alice' })
      isBroken = false
      expect(await sessionOf(browser)).toMatchObject({ subject: 'alice' })
    }
    await own.close()
  })

  it('are not waited for if a process was killed while it refreshed them', async () => {
    const browser = new Browser()
    const own = await startProvider(SHORT)
    await signIn.close()
    const slow: SessionStore = { ...store, set: store.set }
    signIn = create({ issuer: own.issuer, store: slow, limits: { requestTimeoutMs: 1_000 } })
    await signedIn(browser)
    aheadMs += 40_000
    // Another process has the lock, and never gives it back.
    let reads = 0
    slow.get = async (key) => {
      reads++
      return (await store.get(key)) ?? (isBroken ? 'another' : undefined)
    }
    isBroken = true
    expect(await sessionOf(browser)).toMatchObject({ subject: 'alice' })
    isBroken = false
    expect(logged.join('\n')).toContain('ERR_SIGN_IN_UNAVAILABLE')
    // Two for each 50 ms of the second, instead of the eight seconds after which the refresh gives up.
    expect(reads).toBeLessThan(80)
    await own.close()
  })

  it('do not bring a session back that was signed out in another process during their refresh', async () => {
    const browser = new Browser()
    const own = await startProvider(SHORT)
    await signIn.close()
    const other = create({ issuer: own.issuer })
    let isWatching = false
    signIn = create({
      issuer: own.issuer,
      store: {
        ...store,
        async set(key, value, ttl) {
          // The session, which is longer than any note.
          if (isWatching && value.length > 1_000) {
            isWatching = false
            const request = browser.request(`${ORIGIN}/sign-out`, { method: 'POST' })
            expect((await other.signOut(request)).status).toBe(303)
          }
          await store.set(key, value, ttl)
        },
      },
    })
    await signedIn(browser)
    aheadMs += 40_000
    isWatching = true
    expect(await sessionOf(browser)).toBeUndefined()
    expect(isWatching).toBe(false)
    expect(await other.session(browser.request(`${ORIGIN}/`))).toBeUndefined()
    await other.close()
    await own.close()
  })

  it('leave the user signed in while the provider is down', async () => {
    const browser = new Browser()
    const own = await startProvider(SHORT)
    await signIn.close()
    signIn = create({
      issuer: own.issuer,
      credentials: (identity) => async () => ({
        accessKeyId: await identity.idToken(),
        secretAccessKey: 's',
      }),
    })
    await signedIn(browser)
    const session = (await sessionOf(browser))!
    const login = session.login(auroraDsql, {
      host: HOST,
      user: 'app',
    })
    await own.close()
    aheadMs += 40_000
    expect(await sessionOf(browser)).toMatchObject({ subject: 'alice' })
    await expect(login.token()).rejects.toMatchObject({
      code: 'ERR_SIGN_IN_UNAVAILABLE',
      retryable: true,
    })
  })

  it('end the session with them if the provider issues no refresh token', async () => {
    const browser = new Browser()
    const own = await startProvider({ ...SHORT, refreshTokens: false })
    await signIn.close()
    signIn = create({ issuer: own.issuer })
    await signedIn(browser)
    expect(await sessionOf(browser)).toBeDefined()
    aheadMs += 40_000
    expect(await sessionOf(browser)).toBeUndefined()
    await own.close()
  })
})

describe('a sign-out', () => {
  const signOut = (
    browser: Browser,
    options?: SignOutOptions,
    headers: Record<string, string> = {},
  ): Promise<Response> =>
    signIn
      .signOut(
        browser.request(`${ORIGIN}/sign-out`, {
          method: 'POST',
          headers: { origin: ORIGIN, ...headers },
        }),
        options,
      )
      .then((response) => browser.keep(`${ORIGIN}/`, response))

  it('ends the session here and at the provider, without a token in the address', async () => {
    const browser = new Browser()
    await signedIn(browser)
    const cookies = new Map(browser.cookies(ORIGIN))
    const response = await signOut(browser)
    const location = new URL(response.headers.get('location')!)
    expect(location.origin + location.pathname).toBe(`${provider.issuer}/session/end`)
    expect(Object.fromEntries(location.searchParams)).toEqual({
      client_id: 'dashboard',
      post_logout_redirect_uri: `${ORIGIN}/`,
    })
    expect(browser.cookies(ORIGIN).size).toBe(0)
    for (const [name, value] of cookies) browser.setCookie(ORIGIN, name, value)
    expect(await sessionOf(browser)).toBeUndefined()
  })

  it('ends it even if the provider is down', async () => {
    const own = await startProvider({ clients: [CLIENT] })
    await signIn.close()
    signIn = create({ issuer: own.issuer, limits: { requestTimeoutMs: 1_000 } })
    const browser = new Browser()
    await signedIn(browser)
    await own.close()
    const response = await signOut(browser)
    expect(response.status).toBe(303)
    expect(await sessionOf(browser)).toBeUndefined()
  })

  it('cannot be undone by a store whose touch() writes the whole value', async () => {
    const patient = await startProvider({ clients: [CLIENT], tokenSecs: 200_000 })
    await signIn.close()
    const waiting: (() => void)[] = []
    let isSlow = false
    signIn = create({
      issuer: patient.issuer,
      store: {
        ...store,
        async touch(key, ttl) {
          const value = await store.get(key)
          if (isSlow) await new Promise<void>((resolve) => waiting.push(resolve))
          if (value !== undefined) await store.set(key, value, ttl)
        },
      },
    })
    const browser = new Browser()
    await signedIn(browser)
    isSlow = true
    const loading = sessionOf(browser)
    await eventually('the touch', () => waiting.length > 0)
    isSlow = false
    const request = browser.request(`${ORIGIN}/sign-out`, { method: 'POST' })
    expect((await signIn.signOut(request)).status).toBe(303)
    waiting[0]!()
    await loading
    // Notes of sign-outs are kept for ten minutes.
    aheadMs += 601_000
    expect(await sessionOf(browser)).toBeUndefined()
    await patient.close()
  })

  it('ends the session although the store fails to destroy it', async () => {
    await signIn.close()
    let isDown = false
    signIn = create({
      store: {
        ...store,
        async destroy(key) {
          if (isDown) throw new Error('the store is down')
          await store.destroy(key)
        },
      },
    })
    const browser = new Browser()
    await signedIn(browser)
    const copy = new Browser()
    for (const [name, value] of browser.cookies(ORIGIN)) copy.setCookie(ORIGIN, name, value)
    isDown = true
    const url = `${ORIGIN}/sign-out`
    const response = await signIn.signOut(browser.request(url, { method: 'POST' }))
    expect([response.status, await page(browser.keep(url, response))]).toEqual([
      503,
      expect.stringContaining('ERR_SIGN_IN_STORE'),
    ])
    expect(browser.cookies(ORIGIN).size).toBe(0)
    isDown = false
    aheadMs += 601_000
    expect(await sessionOf(copy)).toBeUndefined()
  })

  it('works while the memory store is full', async () => {
    await signIn.close()
    store = createMemoryStore({ maxEntries: 3 }, clock)
    signIn = create()
    const browser = new Browser()
    await signedIn(browser)
    const copy = new Browser()
    for (const [name, value] of browser.cookies(ORIGIN)) copy.setCookie(ORIGIN, name, value)
    const response = await signIn.signOut(browser.request(`${ORIGIN}/sign-out`, { method: 'POST' }))
    expect(response.status).toBe(303)
    expect(await sessionOf(copy)).toBeUndefined()
  })

  it('ends no other session of the user, or with everywhere all of them', async () => {
    const browsers = [new Browser(), new Browser(), new Browser()] as const
    for (const browser of browsers) await signedIn(browser)
    const stranger = new Browser()
    await signedIn(stranger, 'bob')
    await signOut(browsers[0])
    expect(await sessionOf(browsers[1])).toBeDefined()
    await signOut(browsers[1], { everywhere: true })
    expect(await sessionOf(browsers[2])).toBeUndefined()
    expect(await sessionOf(stranger)).toBeDefined()
    // Also in a process that has no session of this user in memory.
    aheadMs += 1
    await signedIn(browsers[0])
    expect(await sessionOf(browsers[0])).toBeDefined()
  })

  it.each([
    ['an origin of another site', { origin: 'https://evil.example' }],
    ['a page of another site', { 'sec-fetch-site': 'cross-site' }],
    ['a page of a sibling', { 'sec-fetch-site': 'same-site' }],
  ])('is refused for %s', async (_what, headers) => {
    const browser = new Browser()
    await signedIn(browser)
    const response = await signOut(browser, {}, headers)
    expect([response.status, await response.text()]).toEqual([
      400,
      expect.stringContaining('ERR_SIGN_IN_STATE'),
    ])
    expect(await sessionOf(browser)).toBeDefined()
  })

  it('without a session leads home', async () => {
    const response = await signOut(new Browser())
    expect([response.status, response.headers.get('location')]).toEqual([303, `${ORIGIN}/`])
  })
})
