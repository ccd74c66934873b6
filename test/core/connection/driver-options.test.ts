import * as fc from 'fast-check'
import { Pool } from 'pg'
import { pgConfig } from '../../../adapters/pg.js'
import {
  checkDriverOptions,
  jitteredMaxLifetime,
  OWNED_OF_PG as OWNED,
} from '../../../core/connection/driver-options.js'
import { auroraDsql, customLogin, isPgIamError } from '../../../core/index.js'
import { atOnce } from '../../support/adapter-contract/contract-context.js'
import { useContractServer } from '../../support/adapter-contract/use-contract-server.js'
import { thrownBy } from '../support/caught.js'
import { createAuthority } from '../support/certificates.js'
import { HOST, OPTIONS } from '../support/dsql-options.js'
import { printed } from '../support/printed.js'

const login = auroraDsql({ ...OPTIONS, connectTo: { host: 'tunnel', port: 6000 } })
const check = (given: object): unknown => checkDriverOptions(login, given, OWNED, 'connection.')

describe('checkDriverOptions', () => {
  it.each<object>([
    {},
    { max: 5, application_name: 'x' },
    { host: HOST, port: 5432, user: 'app', database: 'postgres' },
    { host: 'tunnel', port: '6000' },
    { host: undefined, password: undefined, connectionString: null, ssl: undefined },
    { ssl: true },
    { ssl: {} },
    { ssl: 'verify-full' },
    { ssl: { require: true, rejectUnauthorized: true } },
    { ssl: { sslmode: 'require', requestCert: true, agent: false } },
    { sslmode: 'require', target_session_attrs: 'any', sslnegotiation: 'direct' },
    { ssl: { rejectUnauthorized: true, servername: HOST, key: undefined } },
  ])('accepts %j, and returns the TLS settings of the login', (given) => {
    expect(check(given)).toBe(login.tls)
  })

  it.each<[object, string, string]>([
    [
      { password: 'CANARY' },
      'ERR_OPTION_CONFLICT',
      '"connection.password" must not be given with a login',
    ],
    [
      { password: '' },
      'ERR_OPTION_CONFLICT',
      '"connection.password" must not be given with a login',
    ],
    [
      { password: () => 'CANARY' },
      'ERR_OPTION_CONFLICT',
      '"connection.password" must not be given with a login',
    ],
    [
      { connectionString: 'postgres://a:CANARY@h' },
      'ERR_OPTION_CONFLICT',
      '"connection.connectionString" must not be given with a login',
    ],
    [
      { stream: () => 1 },
      'ERR_OPTION_CONFLICT',
      '"connection.stream" must not be given with a login',
    ],
    [
      { host: 'other' },
      'ERR_OPTION_CONFLICT',
      `"connection.host" must be "${HOST}", as in the login, got "other"`,
    ],
    [
      { host: { toString: 0 } },
      'ERR_OPTION_CONFLICT',
      `"connection.host" must be "${HOST}", as in the login, got an object`,
    ],
    [{ port: 1 }, 'ERR_OPTION_CONFLICT', '"connection.port" must be 5432, as in the login, got 1'],
    [
      { user: 'admin' },
      'ERR_OPTION_CONFLICT',
      '"connection.user" must be "app", as in the login, got "admin"',
    ],
    [
      { database: 'x' },
      'ERR_OPTION_CONFLICT',
      '"connection.database" must be "postgres", as in the login, got "x"',
    ],
    [
      { ssl: false },
      'ERR_TLS_UNVERIFIED',
      '"connection.ssl" must not turn TLS or its verification off',
    ],
    [
      { ssl: 'require' },
      'ERR_TLS_UNVERIFIED',
      '"connection.ssl" must not turn TLS or its verification off',
    ],
    [
      { ssl: 'prefer' },
      'ERR_TLS_UNVERIFIED',
      '"connection.ssl" must not turn TLS or its verification off',
    ],
    [
      { ssl: { require: false } },
      'ERR_TLS_UNVERIFIED',
      '"connection.ssl.require" must not turn TLS or its verification off',
    ],
    [
      { ssl: { sslmode: 'disable' } },
      'ERR_TLS_UNVERIFIED',
      '"connection.ssl.sslmode" must not turn TLS or its verification off',
    ],
    [
      { sslmode: 'no-verify' },
      'ERR_TLS_UNVERIFIED',
      '"connection.sslmode" must not turn TLS or its verification off',
    ],
    [
      { ssl: { maxVersion: 'TLSv1.1' } },
      'ERR_OPTION_INVALID',
      '"connection.ssl.maxVersion" must be "TLSv1.2" or "TLSv1.3", got "TLSv1.1"',
    ],
    [
      { ssl: { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.2' } },
      'ERR_OPTION_CONFLICT',
      '"connection.ssl.minVersion" must not be newer than "connection.ssl.maxVersion"',
    ],
    [
      { sslnegotiation: 'postgres' },
      'ERR_OPTION_CONFLICT',
      '"connection.sslnegotiation" must be "direct", as in the login, got "postgres"',
    ],
    [
      { target_session_attrs: 'read-write' },
      'ERR_OPTION_INVALID',
      '"connection.target_session_attrs" must be "any", got "read-write"',
    ],
    [
      { ssl: { rejectUnauthorized: false } },
      'ERR_TLS_UNVERIFIED',
      '"connection.ssl" must not turn TLS or its verification off',
    ],
    [
      { ssl: { servername: 'other' } },
      'ERR_OPTION_CONFLICT',
      `"connection.ssl.servername" must be "${HOST}", as in the login`,
    ],
    [
      { ssl: { key: 'CANARY' } },
      'ERR_OPTION_CONFLICT',
      '"connection.ssl.key" must not be given with a login',
    ],
  ])('rejects %j', (given, code, message) => {
    const error = thrownBy(() => check(given))
    expect(error).toMatchObject({ code, message })
    expect(printed(error)).not.toContain('CANARY')
  })

  it("uses the driver's CAs if the login has none, in any form that Node accepts", async () => {
    const [{ ca: one }, { ca: two }] = await Promise.all([
      createAuthority('One'),
      createAuthority('Two'),
    ])
    expect(check({ ssl: { ca: one } })).toEqual({ ...login.tls, ca: one })
    expect(check({ ssl: { ca: [one, Buffer.from(two)] } })).toEqual({
      ...login.tls,
      ca: `${one}\n${two}`,
    })
    const trusting = auroraDsql({ ...OPTIONS, tls: { ca: one } })
    expect(checkDriverOptions(trusting, { ssl: { ca: two } }, OWNED)).toBe(trusting.tls)
    expect(thrownBy(() => check({ ssl: { ca: 'no certificate' } }))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
    })
  })

  it("uses the driver's TLS versions, but none below TLSv1.2", () => {
    expect(check({ ssl: { minVersion: 'TLSv1', maxVersion: 'TLSv1.3' } })).toEqual({
      ...login.tls,
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.3',
    })
    expect(check({ ssl: { minVersion: 'TLSv1.3' } })).toEqual({
      ...login.tls,
      minVersion: 'TLSv1.3',
    })
  })

  it('rejects a NUL in a user if the login has none to compare with', () => {
    const unnamed = customLogin({ host: 'db.example.com', getToken: () => 'x' })
    const given = { user: 'app\0user\0admin' }
    expect(thrownBy(() => checkDriverOptions(unnamed, given, OWNED))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringMatching(/^"user" must be a non-empty string/),
    })
  })

  it('rejects a value that is not an object', () => {
    expect(thrownBy(() => check('host=x' as never))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: '"connection" must be an object, got "host=x"',
    })
  })

  it('accepts or rejects any value, and never returns TLS settings without verification', () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(OWNED)), fc.anything(), (name, value) => {
        try {
          expect(check({ [name]: value })).toMatchObject({
            rejectUnauthorized: true,
            servername: HOST,
          })
        } catch (error) {
          expect(isPgIamError(error)).toBe(true)
        }
      }),
    )
  })
})

describe('jitteredMaxLifetime', () => {
  const server = useContractServer()

  it('has a different value at each use, between four fifths of the lifetime and the whole lifetime', () => {
    const host = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
    const login = auroraDsql({ host, user: 'app', maxLifetimeSecs: 100 })
    const lifetime = jitteredMaxLifetime(login).maxLifetimeSeconds!
    const draws = Array.from({ length: 50 }, () => lifetime * 1_000)
    expect(new Set(draws).size).toBeGreaterThan(30)
    expect(Math.min(...draws)).toBeGreaterThanOrEqual(80_000)
    expect(Math.max(...draws)).toBeLessThanOrEqual(100_000)
  })

  it('has one of some hundreds of values, since Node keeps a list of timers for each', () => {
    const host = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
    const lifetime = jitteredMaxLifetime(auroraDsql({ host, user: 'app' })).maxLifetimeSeconds!
    const draws = Array.from({ length: 20_000 }, () => lifetime * 1_000)
    const count = new Set(draws).size
    expect(count).toBeGreaterThan(450)
    expect(count).toBeLessThanOrEqual(501)
  })

  it('is absent if the login has no maximum age, as pg-pool has none by default', () => {
    const getToken = (): Promise<string> => Promise.resolve('token')
    const login = customLogin({ host: 'db.example.com', user: 'app', getToken })
    expect(jitteredMaxLifetime(login)).toEqual({})
    expect(pgConfig(login)).not.toHaveProperty('maxLifetimeSeconds')
    expect(pgConfig(login, { maxLifetimeSeconds: 60 })).toMatchObject({ maxLifetimeSeconds: 60 })
  })

  it('is evaluated by pg-pool for each connection that it opens', async () => {
    let asked = 0
    const counting = {
      valueOf: () => {
        asked++
        return 1_000
      },
    } as unknown as number
    const config = pgConfig(server().login(), { max: 3, maxLifetimeSeconds: counting })
    const pool = new Pool(config)
    asked = 0
    await atOnce(9, () => pool.query('SELECT 1'))
    const { totalCount } = pool
    await pool.end()
    expect(totalCount).toBe(3)
    expect(asked).toBeGreaterThanOrEqual(totalCount)
  })
})
