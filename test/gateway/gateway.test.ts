import { once } from 'node:events'
import { connect } from 'node:net'
import { inspect } from 'node:util'
import { Client } from 'pg'
import { startGateway, type Gateway } from '../../gateway/index.js'
import { pgSettings, withClient } from './engines/checks/gateway-clients.js'
import { errorFields, loggedIn, openPlain, openTls } from './raw-client.js'
import { recordLog, usePostgres } from './upstream-gateway.js'

const postgres = usePostgres()
let gateway: Gateway
beforeAll(async () => {
  gateway = await postgres.start()
})

const currentUser = (of: Gateway, settings: object): Promise<unknown> =>
  withClient(
    of,
    async (client) => (await client.query('select current_user as u')).rows[0] as unknown,
    settings,
  )

describe('a gateway', () => {
  it('listens on a free loopback port and emulates one generated cluster by default', () => {
    expect(gateway.host).toBe('127.0.0.1')
    expect(gateway.port).toBeGreaterThan(0)
    expect(gateway.clusters).toEqual([
      expect.stringMatching(/^[a-z0-9]{26}\.dsql\.us-east-1\.on\.aws$/),
    ])
    expect(gateway.ca).toMatch(/^-----BEGIN CERTIFICATE-----\n/)
  })

  it('listens on the given port, and rejects if it is in use', async () => {
    const { port } = gateway
    const attempt = postgres.start({ port })
    await expect(attempt).rejects.toMatchObject({ code: 'EADDRINUSE' })
    const other = await postgres.start({ host: 'localhost' })
    expect(other.host).toBe('localhost')
    expect(await currentUser(other, {})).toEqual({ u: 'app' })
  })

  it('creates a new authority and new credentials at each start', async () => {
    const other = await postgres.start()
    expect(other.ca).not.toBe(gateway.ca)
    expect(other.credentials.accessKeyId).not.toBe(gateway.credentials.accessKeyId)
    const settings = { ...pgSettings(gateway), port: other.port, ssl: { ca: other.ca } }
    await expect(currentUser(gateway, settings)).rejects.toMatchObject({ code: '08006' })
  })

  it('does not expose secrets when it is printed', () => {
    const temporary = gateway.issueCredentials()
    const secrets = [
      gateway.credentials.secretAccessKey,
      temporary.secretAccessKey,
      temporary.sessionToken,
    ]
    const shown = [gateway, temporary, { ...gateway.credentials }, gateway.login()].flatMap(
      (value) => [
        inspect(value, { depth: Infinity, showHidden: true, getters: true }),
        inspect(value, { depth: Infinity, customInspect: false, showHidden: true }),
        JSON.stringify(value),
      ],
    )
    for (const text of shown) {
      for (const secret of secrets) expect(text).not.toContain(secret)
      expect(text).not.toContain('PRIVATE KEY')
    }
  })

  it('counts connections, sessions, logins and tokens', async () => {
    const own = await postgres.start()
    expect(own.stats()).toEqual({
      connectionsOpen: 0,
      sessionsOpen: 0,
      loginsAccepted: 0,
      loginsRefused: 0,
      refusals: {},
      distinctTokens: 0,
      cancelRequests: 0,
      cancelsDelivered: 0,
    })
    const waiting = await openTls(own)
    // Tokens of the same second differ only in their duration.
    const [one, two] = [60, 61].map((tokenDurationSecs) => own.login({ tokenDurationSecs }))
    const token = await one!.password()
    for (const password of [token, token, two!.password])
      await withClient(own, (client) => client.query('select 1'), { password })
    const open = await loggedIn(own)
    expect(own.stats()).toMatchObject({
      connectionsOpen: 2,
      sessionsOpen: 1,
      loginsAccepted: 4,
      distinctTokens: 3,
    })
    waiting.socket.destroy()
    open.socket.destroy()
  })
})

describe('gateway.login', () => {
  it("creates a login to the first cluster as app, with the gateway's credentials and authority", async () => {
    const login = gateway.login()
    expect(login).toMatchObject({
      provider: 'aurora-dsql',
      host: gateway.clusters[0],
      user: 'app',
      database: 'postgres',
      region: 'us-east-1',
      connectTo: { host: gateway.host, port: gateway.port },
      tls: { ca: expect.stringContaining('BEGIN CERTIFICATE') as string, rejectUnauthorized: true },
    })
    expect(await currentUser(gateway, { password: login.password })).toEqual({ u: 'app' })
  })

  it('applies the options of the caller', () => {
    const credentials = gateway.issueCredentials({ roles: ['admin'] })
    const given = {
      username: 'admin',
      database: 'other',
      tls: { servername: 'localhost' },
      credentials,
      region: undefined,
    }
    const login = gateway.login(given as object)
    expect(login).toMatchObject({
      user: 'admin',
      database: 'other',
      tls: { servername: 'localhost' },
    })
    expect(login.tls.ca).toContain('BEGIN CERTIFICATE')
    expect(gateway.login({ customCredentialsProvider: () => credentials }).user).toBe('app')
  })

  it.each([
    ['an unknown option', { usr: 'app' }, 'ERR_OPTION_INVALID'],
    ['a value that is not an object', 'app', 'ERR_OPTION_INVALID'],
    ['TLS without verification', { tls: false }, 'ERR_TLS_UNVERIFIED'],
    ['two user names', { user: 'app', username: 'other' }, 'ERR_OPTION_CONFLICT'],
  ])('rejects %s', (_what, options, code) => {
    expect(() => gateway.login(options as object)).toThrow(expect.objectContaining({ code }))
  })

  it('uses another role if there is no "app"', async () => {
    expect((await postgres.start({ roles: ['shop'] })).login().user).toBe('shop')
    expect((await postgres.start({ roles: [] })).login().user).toBe('admin')
  })
})

describe('gateway.issueCredentials', () => {
  it('returns credentials that are accepted until they expire', async () => {
    let now = Date.now()
    const own = await postgres.start({ clock: () => now })
    const credentials = own.issueCredentials({ durationSecs: 60 })
    expect(credentials.accessKeyId).toMatch(/^ASIA[A-Z2-7]{16}$/)
    expect(credentials.expiration.getTime()).toBe(now + 60_000)
    const { password } = own.login({ customCredentialsProvider: () => ({ ...plain(credentials) }) })
    expect(await currentUser(own, { password })).toEqual({ u: 'app' })
    now += 60_000
    await expect(currentUser(own, { password })).rejects.toMatchObject({ code: '08006' })
    expect(own.stats().refusals).toEqual({ 'credentials-expired': 1 })
  })

  it('returns credentials for the given roles only', async () => {
    const own = await postgres.start()
    const credentials = own.issueCredentials({ roles: ['admin'] })
    const login = (user: string) => own.login({ user, credentials }).password
    expect(await currentUser(own, { user: 'admin', password: login('admin') })).toEqual({
      u: 'admin',
    })
    await expect(currentUser(own, { password: login('app') })).rejects.toMatchObject({
      code: '28000',
    })
    expect(own.stats().refusals).toEqual({ 'role-not-allowed': 1 })
  })

  it.each([
    ['a duration of 0', { durationSecs: 0 }],
    ['a duration of more than 36 hours', { durationSecs: 129_601 }],
    ['roles that are not an array', { roles: 'app' }],
    ['an unknown option', { seconds: 5 }],
  ])('rejects %s', (_what, options) => {
    expect(() => gateway.issueCredentials(options as object)).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_INVALID' }),
    )
  })
})

/** The credentials without their expiration, so that the signer continues to use them. */
function plain({
  accessKeyId,
  secretAccessKey,
  sessionToken,
}: ReturnType<Gateway['issueCredentials']>) {
  return { accessKeyId, secretAccessKey, sessionToken }
}

describe('gateway.revokeCredentials', () => {
  it('refuses later logins but does not end open sessions', async () => {
    const own = await postgres.start()
    const open = new Client(pgSettings(own))
    await open.connect()
    expect(own.revokeCredentials(own.credentials.accessKeyId)).toBe(true)
    await expect(currentUser(own, {})).rejects.toMatchObject({ code: '08006' })
    expect((await open.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await open.end()
    expect(own.stats().refusals).toEqual({ 'access-key-revoked': 1 })
    expect(own.revokeCredentials('AKIDNOBODY')).toBe(false)
  })
})

describe('gateway.close', () => {
  it('sends an error to clients, ends all connections, releases the port, and can be called twice', async () => {
    const log = recordLog()
    const before = runningTimers()
    const own = await startGateway({
      sql: 'postgres',
      upstream: { host: postgres.server().socketDirectory, port: postgres.server().port },
      logger: log.logger,
    })
    const client = await loggedIn(own)
    const idle = await openPlain(own)
    const stuck = await loggedIn(own)
    stuck.socket.pause()
    const idleClosed = once(idle.resume(), 'close')
    const closing = own.close()
    expect(own.close()).toBe(closing)
    expect(errorFields(await client.next('E'))).toMatchObject({ S: 'FATAL', C: '57P01' })
    await Promise.all([closing, idleClosed, client.ended()])
    expect(own.stats()).toMatchObject({ connectionsOpen: 0, sessionsOpen: 0 })
    const refused = connect({ host: own.host, port: own.port })
    expect((await once(refused, 'error'))[0]).toMatchObject({ code: 'ECONNREFUSED' })
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([])
    stuck.socket.destroy()
    expect(runningTimers()).toBe(before)
  })
})

/** The number of timers that keep the process running. */
function runningTimers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
}
