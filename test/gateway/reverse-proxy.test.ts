import { once } from 'node:events'
import { createServer } from 'node:net'
import { Client, type ClientConfig } from 'pg'
import { createPool } from '../../adapters/pg.js'
import { type Gateway, type GatewayOptions, startGateway } from '../../gateway/index.js'
import { rejectionOf } from '../core/support/caught.js'
import { launchPostgres, type PostgresServer } from '../support/launch-postgres.js'
import { certificatesFor } from './connection/served.js'
import { usePostgres } from './upstream-gateway.js'

const postgres = usePostgres()
const USERS = { app: 'secret', admin: 'secret' }
const gateways: Gateway[] = []
let secured: PostgresServer
let tls: Awaited<ReturnType<typeof certificatesFor>>

beforeAll(async () => {
  tls = await certificatesFor('localhost', '127.0.0.1')
  secured = await launchPostgres({
    roles: ['app'],
    database: 'secured',
    tls: { certificate: tls.cert, privateKey: tls.key },
  })
})
afterAll(() => secured.close())
afterEach(() => Promise.all(gateways.splice(0).map((gateway) => gateway.close())))

async function gatewayWith(options: GatewayOptions): Promise<Gateway> {
  const gateway = await startGateway(options)
  gateways.push(gateway)
  return gateway
}

/** The server of this test file, where every role is trusted. */
function trusting(): { host: string; port: number } {
  const { socketDirectory: host, port } = postgres.server()
  return { host, port }
}

function clientOf({ port, ca }: Gateway, servername: string, config: ClientConfig = {}): Client {
  const client = new Client({
    ...{ host: '127.0.0.1', port, user: 'app', password: 'secret', database: 'postgres' },
    ssl: { ca, servername },
    ...config,
  })
  client.on('error', () => {})
  return client
}

async function ask(gateway: Gateway, servername: string, sql: string, config: ClientConfig = {}) {
  const client = clientOf(gateway, servername, config)
  await client.connect()
  try {
    return (await client.query(sql)).rows as unknown[]
  } finally {
    await client.end()
  }
}

describe('an endpoint with an upstream server', () => {
  it('is chosen by the server name, a full name before one with a wildcard', async () => {
    const gateway = await gatewayWith({
      endpoints: [
        { provider: 'password', hosts: ['*.db.example.com'], users: USERS, upstream: trusting() },
        {
          provider: 'password',
          hosts: ['secured.db.example.com'],
          users: USERS,
          upstream: {
            ...{ host: '127.0.0.1', port: secured.port, password: secured.password },
            tls: { ca: tls.ca },
          },
        },
      ],
    })
    expect(gateway.engine).toBe('upstream')
    const sql = 'SELECT current_database() AS db, current_user AS role'
    expect(await ask(gateway, 'orders.db.example.com', sql)).toEqual([
      { db: 'postgres', role: 'app' },
    ])
    expect(
      await ask(
        gateway,
        'secured.db.example.com',
        'SELECT current_database() AS db, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
        { database: 'secured' },
      ),
    ).toEqual([{ db: 'secured', ssl: true }])
    expect(await rejectionOf(ask(gateway, 'a.b.db.example.com', sql))).toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
  })

  it('serves its own hosts only, also as the only endpoint', async () => {
    const names: unknown[] = []
    const gateway = await gatewayWith({
      endpoints: [
        {
          ...{ provider: 'password', hosts: ['*.db.example.com'], users: USERS },
          upstream({ serverName }) {
            names.push(serverName)
            return trusting()
          },
        },
      ] as GatewayOptions['endpoints'] & object,
    })
    const foreign = {
      ssl: { ca: gateway.ca, servername: 'evil.org', checkServerIdentity: () => undefined },
    }
    expect(await rejectionOf(ask(gateway, '', 'SELECT 1', foreign))).toMatchObject({
      code: '08004',
    })
    expect(names).toEqual([])
  })

  it('may be chosen by a function of the client, which may fail', async () => {
    const seen: unknown[] = []
    const gateway = await gatewayWith({
      endpoints: [
        {
          provider: 'password',
          hosts: ['*.db.example.com'],
          users: USERS,
          async upstream(client) {
            seen.push(client)
            if (client.user === 'admin')
              throw Object.assign(new Error('no server for admin'), { code: '3D000' })
            const { host, port } = trusting()
            return `postgres:///?host=${encodeURIComponent(host)}&port=${port}`
          },
        },
      ],
    })
    const sql = "SELECT current_setting('application_name') AS name"
    const named = { application_name: 'shop' }
    expect(await ask(gateway, 'a.db.example.com', sql, named)).toEqual([{ name: 'shop' }])
    expect(seen).toEqual([
      expect.objectContaining({
        serverName: 'a.db.example.com',
        user: 'app',
        database: 'postgres',
        parameters: expect.any(Map) as Map<string, string>,
      }),
    ])
    expect(
      await rejectionOf(ask(gateway, 'b.db.example.com', sql, { user: 'admin' })),
    ).toMatchObject({
      code: '3D000',
      message: 'no server for admin',
    })
  })

  it('may be a login, so that each session is opened with a token, and cancelled with its TLS', async () => {
    const cloud = await postgres.start()
    const front = await gatewayWith({
      endpoints: [
        { provider: 'password', hosts: ['db.example.com'], users: USERS, upstream: cloud.login() },
      ],
    })
    const before = cloud.stats().loginsAccepted
    expect(await ask(front, 'db.example.com', 'SELECT current_user AS role')).toEqual([
      { role: 'app' },
    ])
    const client = clientOf(front, 'db.example.com')
    await client.connect()
    const pid = (client as unknown as { processID: number }).processID
    expect((await client.query('SELECT pg_backend_pid() AS pid')).rows).toEqual([{ pid }])
    expect(cloud.stats()).toMatchObject({
      loginsAccepted: before + 2,
      distinctTokens: expect.any(Number) as number,
    })
    const sleeping = rejectionOf(client.query('SELECT pg_sleep(600)'))
    const watcher = clientOf(front, 'db.example.com')
    await watcher.connect()
    const active = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while ((await watcher.query<{ n: number }>(active)).rows[0]!.n === 0);
    const canceller = clientOf(front, 'db.example.com')
    ;(canceller as unknown as { cancel(own: Client, query: unknown): void }).cancel(
      client,
      (client as unknown as { activeQuery: unknown }).activeQuery ??
        (client as unknown as { _activeQuery: unknown })._activeQuery,
    )
    expect(await sleeping).toMatchObject({ code: '57014' })
    await Promise.all([client.end(), watcher.end()])
  })

  it('gives 08006 with the name of a server that is down, or whose certificate is not trusted', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    server.close()
    await once(server, 'close')
    const password = (host: string, upstream: object) =>
      ({ provider: 'password', hosts: [host], users: USERS, upstream }) as const
    const gateway = await gatewayWith({
      endpoints: [
        password('down.example.com', { host: '127.0.0.1', port }),
        password('untrusted.example.com', { host: '127.0.0.1', port: secured.port, tls: true }),
      ] as GatewayOptions['endpoints'] & object,
    })
    expect(await rejectionOf(ask(gateway, 'down.example.com', ''))).toMatchObject({
      code: '08006',
      message: `could not reach the PostgreSQL server at 127.0.0.1:${port}: ECONNREFUSED`,
    })
    expect(await rejectionOf(ask(gateway, 'untrusted.example.com', ''))).toMatchObject({
      code: '08006',
      message: expect.stringContaining(`127.0.0.1:${secured.port}: `) as string,
    })
  })

  it('has a limit of sessions of its own, with a queue', async () => {
    const gateway = await gatewayWith({
      endpoints: [
        {
          ...{ provider: 'password', hosts: ['db.example.com'], users: USERS },
          ...{ upstream: trusting(), maxConnections: 1, queueTimeoutMs: 600_000 },
        },
        { provider: 'password', hosts: ['other.example.com'], users: USERS, upstream: trusting() },
      ] as GatewayOptions['endpoints'] & object,
    })
    const holder = clientOf(gateway, 'db.example.com')
    await holder.connect()
    const order: string[] = []
    const waiting = ask(gateway, 'db.example.com', 'SELECT 1').then(() => order.push('queued'))
    await ask(gateway, 'other.example.com', 'SELECT 1')
    order.push('other')
    await holder.end()
    await waiting
    expect(order).toEqual(['other', 'queued'])
  })
})

describe('a gateway', () => {
  it('may listen on any address with a certificate of its owner and no identity that it made up', async () => {
    const endpoints = [
      { provider: 'password', hosts: ['localhost'], users: USERS, upstream: trusting() },
    ] as const
    const gateway = await gatewayWith({ host: '0.0.0.0', tls, endpoints })
    expect(gateway.ca).toBe('')
    expect(await ask({ ...gateway, ca: tls.ca }, 'localhost', 'SELECT 1 AS one')).toEqual([
      { one: 1 },
    ])
    const refused: [options: GatewayOptions, code: string][] = [
      [{ host: '0.0.0.0', endpoints }, 'ERR_OPTION_INVALID'],
      [{ host: '0.0.0.0', tls }, 'ERR_OPTION_CONFLICT'],
      [
        { host: '::', tls, endpoints: [{ provider: 'none', hosts: ['a.b'] }] },
        'ERR_OPTION_CONFLICT',
      ],
      [
        {
          ...{ host: '::', tls },
          endpoints: [{ provider: 'cloud-sql', hosts: ['a.b'], principals: ['a@b.c'] }],
        },
        'ERR_OPTION_CONFLICT',
      ],
    ]
    for (const [options, code] of refused)
      expect(await rejectionOf(startGateway(options))).toMatchObject({ code })
  })

  it('lets sessions complete their transactions when it closes with drainMs', async () => {
    const gateway = await postgres.start()
    const pool = createPool(gateway.login(), { max: 2 })
    const [idle, busy] = [await pool.connect(), await pool.connect()]
    await busy.query('BEGIN')
    const lost = once(idle, 'error')
    const closing = gateway.close({ drainMs: 600_000 })
    expect((await lost)[0]).toMatchObject({ code: '57P01' })
    expect((await busy.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    busy.on('error', () => {})
    await busy.query('COMMIT')
    await closing
    for (const client of [idle, busy]) client.release(true)
    await pool.end()
  })
})
