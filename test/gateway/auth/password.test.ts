import { inspect } from 'node:util'
import postgres from 'postgres'
import { createPool } from '../../../adapters/pg.js'
import type { Gateway, PasswordLookup } from '../../../gateway/index.js'
import { currentUser, hostOf, METHODS, PASSWORD, usePasswordGateway } from './password-gateway.js'

const use = usePasswordGateway()

describe.each(METHODS)('a password endpoint (%s)', (method) => {
  it('accepts pg with the correct password', async () => {
    const before = use.gateway().stats()
    expect(await currentUser(use.client(method))).toBe('app')
    expect(use.gateway().stats()).toMatchObject({
      loginsAccepted: before.loginsAccepted + 1,
      distinctTokens: 0,
    })
    const { details } = await use.log.line('gateway: accepted a login')
    expect(details).toMatchObject({ provider: 'password', identity: 'app' })
  })

  it('accepts a login created by the gateway', async () => {
    const pool = createPool(use.gateway().login({ host: hostOf(method) }), { max: 1 })
    expect((await pool.query('select current_user as me')).rows).toEqual([{ me: 'app' }])
    await pool.end()
  })

  it('accepts Postgres.js with the correct password', async () => {
    const sql = postgres({
      host: use.gateway().host,
      port: use.gateway().port,
      user: 'app',
      database: 'postgres',
      password: PASSWORD,
      ssl: { ca: use.gateway().ca, servername: hostOf(method) },
    })
    expect(await sql`select current_user as me`).toEqual([{ me: 'app' }])
    await sql.end()
  })

  it.each([
    ['password-wrong', 'app', 'another password'],
    ['password-wrong', 'app', `${PASSWORD} `],
    ['password-unknown', 'admin', PASSWORD],
    ['password-unknown', '__proto__', PASSWORD],
  ])('refuses (%s) %s with %p, as PostgreSQL does', async (reason, user, given) => {
    const before = use.gateway().stats()
    await expect(currentUser(use.client(method, { user, password: given }))).rejects.toMatchObject({
      severity: 'FATAL',
      code: '28P01',
      message: `password authentication failed for user "${user}"`,
    })
    const line = await use.log.refusal(reason)
    expect(line.details).toMatchObject({ role: user, servername: hostOf(method) })
    expect(JSON.stringify(use.log.lines)).not.toContain(given)
    expect(use.gateway().stats().loginsAccepted).toBe(before.loginsAccepted)
  })
})

describe('the passwords of an endpoint', () => {
  it('do not appear when the gateway or a login is printed', async () => {
    const login = use.gateway().login({ host: hostOf('md5') })
    expect(await login.password()).toBe(PASSWORD)
    for (const value of [use.gateway(), login, use.gateway().endpoints]) {
      const deep = { depth: Infinity, showHidden: true, getters: true } as const
      for (const shown of [
        inspect(value, deep),
        inspect(value, { ...deep, customInspect: false }),
        JSON.stringify(value),
      ])
        expect(shown).not.toContain(PASSWORD)
    }
  })
})

describe('a password look-up function', () => {
  const start = (lookUp: PasswordLookup): Promise<Gateway> =>
    use.server.start({
      logger: use.log.logger,
      endpoints: [
        { provider: 'password', hosts: ['db.example.com'], users: lookUp, method: 'cleartext' },
      ],
    })
  const logIn = (own: Gateway, given: string): Promise<unknown> =>
    currentUser(
      use.client('cleartext', {
        port: own.port,
        password: given,
        ssl: { ca: own.ca, servername: 'db.example.com' },
      }),
    )

  it('is called with the role for each login', async () => {
    const passwords = ['first', 'second']
    const roles: string[] = []
    const own = await start(async (role) => {
      roles.push(role)
      return passwords.shift()
    })
    expect(await logIn(own, 'first')).toBe('app')
    expect(await logIn(own, 'second')).toBe('app')
    await expect(logIn(own, 'undefined')).rejects.toMatchObject({ code: '28P01' })
    await use.log.refusal('password-unknown')
    expect(roles).toEqual(['app', 'app', 'app'])
  })

  it('that fails causes a refusal, which is logged without the message of the error', async () => {
    const own = await start(() =>
      Promise.reject(Object.assign(new Error('canary'), { code: 'ECONNREFUSED' })),
    )
    await expect(logIn(own, 'x')).rejects.toMatchObject({ code: '58000' })
    const { message } = await use.log.refusal('verifier-failed')
    expect(message).toContain('ECONNREFUSED')
    expect(JSON.stringify(use.log.lines)).not.toContain('canary')
  })

  it('is limited by the login timeout', async () => {
    const own = await use.server.start({
      loginTimeoutMs: 500,
      endpoints: [
        {
          provider: 'password',
          hosts: ['db.example.com'],
          users: () => new Promise(() => {}),
          method: 'cleartext',
        },
      ],
    })
    // If their places were not released, the third one would exceed the limit. The second one may arrive before the first one has left.
    own.faults.limitConnections({ max: 2 })
    for (const count of [1, 2, 3]) {
      await expect(logIn(own, 'x')).rejects.toMatchObject({ code: '57014' })
      expect(own.stats().refusals).toEqual({ 'login-timeout': count })
    }
  })
})
