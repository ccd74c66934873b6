/** From the sign-in to a query on Redshift as the user: a real OpenID provider, the AWS SDK, the gateway as STS and Redshift. */
import connectPgSimple from 'connect-pg-simple'
import session, { MemoryStore } from 'express-session'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { Pool } from 'pg'
import { redshift } from '../../core/index.js'
import type { Gateway } from '../../gateway/index.js'
import {
  createSignIn,
  expressSessionStore,
  memoryStore,
  type Session,
  type SessionStore,
  type SignIn,
  webIdentity,
} from '../../sign-in/index.js'
import { usePostgres } from '../gateway/upstream-gateway.js'
import { eventually } from '../support/eventually.js'
import { Browser, type ProviderProcess, startProvider } from './identity-provider.js'

const HOST = 'analytics.abcdefghijkl.eu-west-1.redshift.amazonaws.com'
const postgres = usePostgres(['admin', 'app', 'IAMR:alice', 'IAMR:bob'])
let gateway: Gateway
let provider: ProviderProcess
let origin: string
let server: Server
let signIn: SignIn
let other: SignIn | undefined

beforeAll(async () => {
  // The provider sends logout tokens to the application.
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      void signIn
        .backChannelLogout(
          new Request(origin + request.url, {
            method: 'POST',
            body,
            headers: { 'content-type': request.headers['content-type'] ?? '' },
          }),
        )
        .then(({ status }) => response.writeHead(status).end())
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  origin = `http://localhost:${(server.address() as AddressInfo).port}`
  provider = await startProvider({
    clients: [
      {
        client_id: 'dashboard',
        client_secret: 'a secret',
        redirect_uris: [`${origin}/callback`],
        post_logout_redirect_uris: [`${origin}/`],
        backchannel_logout_uri: `${origin}/back-channel-logout`,
        backchannel_logout_session_required: true,
        grant_types: ['authorization_code', 'refresh_token'],
      },
    ],
  })
  gateway = await postgres.start({
    webIdentity: { issuer: provider.issuer, audience: 'dashboard' },
    endpoints: [
      {
        provider: 'redshift',
        hosts: [HOST],
        users: ['alice', 'bob'].map((name) => ({
          roleArn: `arn:aws:iam::111122223333:role/${name}`,
          subject: name,
        })),
      },
    ],
  })
})
afterAll(async () => {
  await provider?.close()
  server?.close()
})

beforeEach(() => {
  signIn = create(memoryStore())
})
afterEach(async () => {
  await signIn.close()
  await other?.close()
  other = undefined
})

function create(
  store: SessionStore,
  roleOf = (subject: string) => `arn:aws:iam::111122223333:role/${subject}`,
): SignIn {
  return createSignIn({
    issuer: provider.issuer,
    clientId: 'dashboard',
    clientSecret: 'a secret',
    redirectUri: `${origin}/callback`,
    keys: ['k'.repeat(43)],
    store,
    credentials: webIdentity({
      roleArn: ({ subject }) => roleOf(subject),
      region: 'eu-west-1',
      endpoint: gateway.awsEndpointUrl!,
    }),
  })
}

async function signedIn(browser: Browser, user: string): Promise<Session> {
  const url = `${origin}/sign-in`
  const started = browser.keep(url, await signIn.start(browser.request(url)))
  const callback = await browser.signInAtProvider(started.headers.get('location')!, user)
  browser.keep(callback, await signIn.callback(browser.request(callback)))
  return (await sessionOf(browser))!
}

const sessionOf = (browser: Browser, from = signIn): Promise<Session | undefined> =>
  from.session(browser.request(`${origin}/`))

const OPTIONS = () => ({
  host: HOST,
  database: 'postgres',
  connectTo: { host: gateway.host, port: gateway.port },
  tls: { ca: gateway.ca },
  apiEndpoint: gateway.awsEndpointUrl!,
})

const me = async (of: Session): Promise<unknown> =>
  (await of.pool(of.login(redshift, OPTIONS())).query('SELECT current_user AS me')).rows[0]?.me

describe('a signed-in user', () => {
  it('queries Redshift as themselves, beside another one, and in one browser one after the other', async () => {
    const [one, two] = [new Browser(), new Browser()]
    const [alice, bob] = [await signedIn(one, 'alice'), await signedIn(two, 'bob')]
    expect(await Promise.all([me(alice), me(bob), me(alice), me(bob)])).toEqual([
      'IAMR:alice',
      'IAMR:bob',
      'IAMR:alice',
      'IAMR:bob',
    ])
    one.forget(provider.issuer)
    expect(await me(await signedIn(one, 'bob'))).toBe('IAMR:bob')
    await expect(me(alice)).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
  })

  it('has one login and one pool for equal options, in all requests of the session', async () => {
    const browser = new Browser()
    const first = await signedIn(browser, 'alice')
    const second = (await sessionOf(browser))!
    const login = first.login(redshift, OPTIONS())
    expect(second.login(redshift, OPTIONS())).toBe(login)
    expect(second.pool(login)).toBe(first.pool(login))
    expect(second.pool(login, { max: 2 })).not.toBe(first.pool(login))
    expect(first.login(redshift, { ...OPTIONS(), tokenDurationSecs: 1_000 })).not.toBe(login)
    await Promise.all(Array.from({ length: 20 }, () => me(second)))
    expect(login.stats()).toMatchObject({ tokensMade: 1, credentialCalls: 1 })
  })

  it("gets no login with other credentials, and no pool of another user's login", async () => {
    const [alice, bob] = [
      await signedIn(new Browser(), 'alice'),
      await signedIn(new Browser(), 'bob'),
    ]
    for (const name of ['credentials', 'profile', 'assumeRole', 'customCredentialsProvider']) {
      expect(() => alice.login(redshift, { ...OPTIONS(), [name]: 'other' } as never)).toThrow(
        expect.objectContaining({ code: 'ERR_OPTION_CONFLICT' }),
      )
    }
    expect(() => alice.pool(bob.login(redshift, OPTIONS()))).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringContaining('a login of this session'),
      }),
    )
  })

  it('gets the reason, and no token in it, if there is no role for the user', async () => {
    await signIn.close()
    signIn = create(memoryStore(), () => 'arn:aws:iam::111122223333:role/nobody')
    const alice = await signedIn(new Browser(), 'alice')
    const error = (await me(alice).catch((reason: unknown) => reason)) as Error
    expect(error).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      message: expect.stringContaining('AccessDenied'),
      hint: expect.stringContaining('trust policy'),
    })
    expect(
      JSON.stringify(error) + String(error.cause) + inspect(error, { depth: 8, showHidden: true }),
    ).not.toContain('eyJ')
  })

  it('has no connection after the sign-out', async () => {
    const browser = new Browser()
    expect(await me(await signedIn(browser, 'alice'))).toBe('IAMR:alice')
    await signIn.signOut(browser.request(`${origin}/sign-out`, { method: 'POST' }))
    await eventually('the connections to be closed', () => gateway.stats().connectionsOpen === 0)
  })
})

describe('a back-channel logout', () => {
  it('of the real provider ends the session, its pools, and the session in another process', async () => {
    const store = memoryStore()
    await signIn.close()
    signIn = create(store)
    other = create(store)
    const browser = new Browser()
    const stranger = new Browser()
    const alice = await signedIn(browser, 'alice')
    await signedIn(stranger, 'bob')
    const there = (await sessionOf(browser, other))!
    expect(await Promise.all([me(alice), me(there)])).toEqual(['IAMR:alice', 'IAMR:alice'])
    // The user signs out at the provider.
    const end = `${provider.issuer}/session/end`
    const page = await (await browser.fetch(end)).text()
    const [, xsrf = ''] = /name="xsrf" value="([^"]+)"/.exec(page) ?? []
    await browser.fetch(`${end}/confirm`, {
      method: 'POST',
      body: new URLSearchParams({ xsrf, logout: 'yes' }),
    })
    await eventually('the session to end', async () => (await sessionOf(browser)) === undefined)
    await expect(me(alice)).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
    expect(await sessionOf(browser, other)).toBeUndefined()
    await expect(me(there)).rejects.toMatchObject({ code: 'ERR_SESSION_ENDED' })
    expect(await sessionOf(stranger)).toBeDefined()
  })
})

describe('the stores of express-session', () => {
  it('keep sessions: its MemoryStore', async () => {
    const memory = new MemoryStore()
    await signIn.close()
    signIn = create(expressSessionStore(memory))
    const browser = new Browser()
    await signedIn(browser, 'alice')
    expect(await sessionOf(browser)).toMatchObject({ subject: 'alice' })
    await signIn.signOut(browser.request(`${origin}/sign-out`, { method: 'POST' }))
    expect(await sessionOf(browser)).toBeUndefined()
  })

  it('keep sessions for several processes, with their time to live: connect-pg-simple', async () => {
    const { socketDirectory, port, superuser, database } = postgres.server()
    const pool = new Pool({ host: socketDirectory, port, user: superuser, database, ssl: false })
    const Store = connectPgSimple(session)
    const open = () => new Store({ pool, createTableIfMissing: true, pruneSessionInterval: false })
    await signIn.close()
    signIn = create(expressSessionStore(open()))
    other = create(expressSessionStore(open()))
    const browser = new Browser()
    await signedIn(browser, 'alice')
    expect(await me((await sessionOf(browser, other))!)).toBe('IAMR:alice')
    const { rows } = await pool.query('SELECT sess, expire FROM session')
    expect(JSON.stringify(rows)).not.toMatch(/alice|eyJhbGciOiJSUzI1NiI/)
    const hours = rows.map(({ expire }: { expire: Date }) =>
      Math.round((expire.getTime() - Date.now()) / 3_600_000),
    )
    // The session, that it was used, and that the callback was.
    expect(hours.toSorted((one, other) => other - one)).toEqual([12, 1, 0])
    await other.signOut(browser.request(`${origin}/sign-out`, { method: 'POST' }))
    expect(await sessionOf(browser)).toBeUndefined()
    await pool.end()
  })
})
