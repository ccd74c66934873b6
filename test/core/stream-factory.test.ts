import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Client, Pool } from 'pg'
import postgres from 'postgres'
import { pgTransaction } from '../../adapters/pg.js'
import { type Login, streamFactory } from '../../core/index.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { withEnvironment } from '../support/environment.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'

const server = useContractServer()

/** A configuration in which pg does nothing about TLS and passwords. */
const own = { user: 'nobody', database: 'nothing', ssl: false, application_name: 'own' } as const

async function sessionOf(login: Login, options?: Parameters<typeof streamFactory>[1]) {
  const client = new Client({ ...own, stream: streamFactory(login, options) })
  await client.connect()
  const { rows } = await client.query(
    `SELECT current_user::text AS role, current_database()::text AS database, current_setting('application_name') AS name`,
  )
  await client.end()
  return rows[0] as unknown
}

describe('streamFactory', () => {
  it("logs an application's pg client in, as the user of the login and to its database, with the client's parameters", async () => {
    expect(await sessionOf(server().login())).toEqual({
      role: 'app',
      database: 'postgres',
      name: 'own',
    })
  })

  it("gives the login's startup parameters precedence over those that driverParameters does not name", async () => {
    const login = server().login({ startupParameters: { application_name: 'of the login' } })
    const role = { role: 'app', database: 'postgres' }
    expect(await sessionOf(login)).toEqual({ ...role, name: 'own' })
    expect(await sessionOf(login, { driverParameters: [] })).toEqual({
      ...role,
      name: 'of the login',
    })
    expect(await sessionOf(login, { driverParameters: ['Application_Name'] })).toEqual({
      ...role,
      name: 'own',
    })
  })

  it('is the socket function of Postgres.js, too, and gets one token for each physical connection', async () => {
    const login = server().login()
    const socket = streamFactory(login) as unknown as () => Promise<never>
    const sql = postgres({ max: 3, ssl: false, user: 'nobody', socket } as object)
    const reserved = await Promise.all(Array.from({ length: 3 }, () => sql.reserve()))
    for (const one of reserved) one.release()
    await sql.end()
    expect(login.stats()).toMatchObject({ connectionsOpened: 3, tokensMade: 3 })
  })

  it('lets the transaction function find the login', async () => {
    const login = server().login({ retry: { maxAttempts: 2, baseDelayMs: 0 } })
    const pool = new Pool({ ...own, stream: streamFactory(login) })
    server().gateway.faults.raiseConflicts()
    await pgTransaction(pool, (client) => client.query('SELECT 1'))
    expect(login.stats().conflictsRetried).toBe(1)
    await pool.end()
  })

  it.each([
    ['after an SSLRequest', { ssl: true }],
    ['directly', { ssl: true, sslnegotiation: 'direct' }],
  ])('fails the connection of a driver that starts TLS itself, %s', async (_how, tls) => {
    const client = new Client({
      ...own,
      ...(tls as object),
      stream: streamFactory(server().login()),
    })
    client.on('error', () => {})
    expect(errorChain(await rejectionOf(client.connect()))).toContainEqual(
      expect.objectContaining({ code: 'ERR_OPTION_CONFLICT' }),
    )
  })

  it.each([
    ['absent, with which pg uses its default', () => ({})],
    ["the login's", ({ host }: Login) => ({ host })],
    ["the login's, in another spelling", ({ host }: Login) => ({ host: `${host.toUpperCase()}.` })],
    ['the address that the login dials', ({ connectTo }: Login) => ({ ...connectTo })],
    ['a loopback address', () => ({ host: '127.0.0.2', port: 1 })],
    ['the directory of a Unix socket', () => ({ host: '/var/run/postgresql' })],
  ])('connects a driver whose host is %s', async (_what, address) => {
    const login = server().login()
    const client = new Client({ ...own, ...address(login), stream: streamFactory(login) })
    await client.connect()
    expect(login.stats().tokensMade).toBe(1)
    await client.end()
  })

  it('connects a driver that takes its host from PGHOST', () =>
    withEnvironment({ PGHOST: 'db.example.com' }, async () => {
      const client = new Client({ ...own, stream: streamFactory(server().login()) })
      await client.connect()
      await client.end()
    }))

  it('fails the connection of a driver that is configured for another host, without a token', async () => {
    const login = server().login()
    const client = new Client({ ...own, host: 'reader.example.com', stream: streamFactory(login) })
    client.on('error', () => {})
    expect(errorChain(await rejectionOf(client.connect()))).toContainEqual(
      expect.objectContaining({
        code: 'ERR_OPTION_CONFLICT',
        message: `the client is configured to connect to "reader.example.com", but its socket function belongs to a login for "${login.host}"`,
      }),
    )
    expect(login.stats()).toMatchObject({ tokensMade: 0, connectionsOpened: 0 })
  })

  it('fails with the same error if the driver passes the host in an object, as net.Socket allows', async () => {
    const stream = streamFactory(server().login())() as Socket
    const failed = once(stream, 'error')
    stream.connect({ host: 'reader.example.com', port: 5432 })
    expect(await failed).toEqual([expect.objectContaining({ code: 'ERR_OPTION_CONFLICT' })])
  })

  it.each([
    [{ driverParameters: 'application_name' }, '"driverParameters" must be an array of names'],
    [{ driverParameters: [7] }, '"driverParameters" must be an array of names'],
    [{ parameters: [] }, '"parameters" is not a known option'],
  ])('rejects the options %j', (options, named) => {
    expect(() => streamFactory(server().login(), options as object)).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringContaining(named) as string,
      }),
    )
  })
})
