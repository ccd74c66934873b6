import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { Client } from 'pg'
import { upstreamAddress } from '../../../gateway/engines/upstream.js'
import {
  type Gateway,
  type GatewayOptions,
  startGateway,
  type UpstreamOptions,
} from '../../../gateway/index.js'
import { errorResponse, ServerError } from '../../../wire/error-response.js'
import { authenticationOk, readyForQuery } from '../../../wire/messages.js'
import * as backend from '../../../wire/messages.js'
import { sslRequestPacket } from '../../../wire/startup.js'
import { frontend } from '../../wire/frontend-messages.js'
import { errorFields, loggedIn, openTls, password, query, startup } from '../raw-client.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'
import { withClient } from './checks/gateway-clients.js'

/** One connection of the gateway, as the upstream server sees it. */
interface Connection {
  readonly socket: Socket
  /** All received bytes. */
  received: Buffer
  /** Resolves when the gateway has ended the connection. */
  readonly ended: Promise<unknown>
}

const APP = { user: 'app', database: 'postgres' }
let server: Server
let gateway: Gateway
/** Connections that were not taken yet, without the probe of the gateway's start. */
let connections: Connection[]
let wake: () => void

beforeEach(async () => {
  connections = []
  wake = () => {}
  server = createServer((socket) => {
    const connection = { socket, received: Buffer.alloc(0), ended: once(socket, 'close') }
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      connection.received = Buffer.concat([connection.received, chunk])
      const isTlsRequest = chunk.length === 8 && chunk.readInt32BE(4) === 80_877_103
      if (isTlsRequest) socket.write('N')
      else if (chunk[0] === 0) socket.write(Buffer.concat([authenticationOk(), readyForQuery('I')]))
    })
    connections.push(connection)
    wake()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  gateway = await startGateway({ sql: 'postgres', upstream: { host: '127.0.0.1', port } })
  await (
    await nextConnection()
  ).ended
})
afterEach(async () => {
  await gateway.close()
  server.close()
})

async function nextConnection(): Promise<Connection> {
  for (;;) {
    const connection = connections.shift()
    if (connection !== undefined) return connection
    await new Promise<void>((resolve) => (wake = resolve))
  }
}

/** A client that has not started TLS yet. */
async function openPlain(): Promise<Socket> {
  const client = connect(gateway.port, '127.0.0.1')
  await once(client, 'connect')
  return client
}

it('the gateway does not connect to PostgreSQL before it has accepted the token of the client', async () => {
  const withoutTls = await openPlain()
  withoutTls.end(startup(APP)).resume()
  await once(withoutTls, 'close')
  const asking = await openPlain()
  asking.write(sslRequestPacket())
  await once(asking, 'data')
  asking.destroy()
  const refused = await openTls(gateway)
  refused.send(startup(APP))
  await refused.next('R')
  refused.send(password('wrong'))
  expect(errorFields(await refused.next('E'))).toMatchObject({ S: 'FATAL' })
  expect(connections).toHaveLength(0)
  const client = await loggedIn(gateway)
  const { received } = await nextConnection()
  expect(received.length).toBeGreaterThan(0)
  client.socket.destroy()
})

describe('the connection that the gateway keeps for the next session', () => {
  let spare: Connection
  beforeEach(async () => {
    await loggedIn(gateway)
    await nextConnection()
    spare = await nextConnection()
  })
  /** Logs in, and resolves with the connection that the server did not know before. */
  const logInAnew = async (): Promise<Connection> => {
    await loggedIn(gateway)
    return nextConnection()
  }

  it('gets the startup packet of the next client only, and is then replaced by another one', async () => {
    expect(spare.received).toHaveLength(0)
    const next = await logInAnew()
    expect(spare.received.length).toBeGreaterThan(0)
    expect(next.received).toHaveLength(0)
  })

  it.each([
    ['closes it', (socket: Socket) => void socket.end()],
    ['resets it', (socket: Socket) => void socket.resetAndDestroy()],
    ['sends an error', (socket: Socket) => void socket.write(errorResponse(shutDown))],
  ])('is given up when the server %s, and the next client gets a new one', async (_how, act) => {
    act(spare.socket)
    await spare.ended
    const fresh = await logInAnew()
    expect(fresh.received.length).toBeGreaterThan(0)
    expect(spare.received).toHaveLength(0)
  })

  it.each([
    ['closes it', (socket: Socket) => void socket.end()],
    ['sends an error', (socket: Socket) => void socket.end(errorResponse(shutDown))],
  ])(
    'is replaced by a new one when the server %s instead of a login, so that the client does not notice',
    async (_how, act) => {
      spare.socket.removeAllListeners('data').once('data', () => act(spare.socket))
      const fresh = await logInAnew()
      expect(fresh.received.length).toBeGreaterThan(0)
    },
  )
})

const shutDown = new ServerError('57P03', 'the database system is starting up')

it.each(['Terminate', 'end', 'destroy'] as const)(
  'PostgreSQL gets exactly one Terminate when a client disconnects by %s',
  async (how) => {
    const client = await loggedIn(gateway)
    const connection = await nextConnection()
    const startupBytes = connection.received.length
    if (how === 'Terminate') client.send(query('select 1'), frontend('X'))
    else client.send(query('select 1'))
    if (how === 'end') client.socket.end()
    while (connection.received.length === startupBytes) await once(connection.socket, 'data')
    if (how === 'destroy') client.socket.destroy()
    await connection.ended
    const messages = Buffer.concat([query('select 1'), frontend('X')])
    expect(connection.received.subarray(startupBytes)).toEqual(messages)
  },
)

const postgres = usePostgres()

const currentUser = (gateway: Gateway): Promise<unknown> =>
  withClient(
    gateway,
    async (client) => (await client.query('select current_user as u')).rows[0] as unknown,
  )

function overTcp(password?: string): UpstreamOptions {
  return {
    host: postgres.server().host,
    port: postgres.server().port,
    ...(password === undefined ? {} : { password }),
  }
}

describe('the login at a PostgreSQL server that requires a password', () => {
  it('uses SCRAM-SHA-256', async () => {
    const gateway = await postgres.start({ upstream: overTcp(postgres.server().password) })
    expect(await currentUser(gateway)).toEqual({ u: 'app' })
  })

  it('accepts the password of a URL', async () => {
    const { host, port, password } = postgres.server()
    const upstream = `postgres://:${encodeURIComponent(password)}@${host}:${port}/postgres`
    expect(await currentUser(await postgres.start({ upstream }))).toEqual({ u: 'app' })
  })

  it('fails with a wrong password, which is not exposed', async () => {
    const log = recordLog()
    const gateway = await postgres.start({
      upstream: overTcp('canary-password'),
      logger: log.logger,
    })
    const error: unknown = await currentUser(gateway).catch((refusal: unknown) => refusal)
    expect(error).toMatchObject({ severity: 'FATAL', code: '28P01' })
    expect(JSON.stringify([error, log.lines])).not.toContain('canary-password')
  })

  it('fails without a password, with a hint', async () => {
    const attempt = currentUser(await postgres.start({ upstream: overTcp() }))
    await expect(attempt).rejects.toMatchObject({
      code: '28000',
      hint: expect.stringContaining('upstream.password') as string,
    })
  })

  it('uses the database of "upstream" if it is set', async () => {
    const { socketDirectory: host, port, superuser: user } = postgres.server()
    const admin = new Client({ host, port, user, database: 'postgres' })
    await admin.connect()
    await admin.query('create database elsewhere')
    await admin.end()
    const gateway = await postgres.start({ upstream: { host, port, database: 'elsewhere' } })
    const rows = await withClient(
      gateway,
      async (client) => (await client.query('select current_database() as d')).rows,
    )
    expect(rows).toEqual([{ d: 'elsewhere' }])
  })
})

function sasl(mechanisms: string): Buffer {
  return Buffer.concat([backend.int32(10), Buffer.from(mechanisms)])
}

describe('the login at a misbehaving server', () => {
  let server: Server
  let answer: (socket: Socket, received: Buffer) => void
  beforeEach(async () => {
    server = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (received: Buffer) => {
        const isTlsRequest = received.length === 8 && received.readInt32BE(4) === 80_877_103
        if (isTlsRequest) socket.write('N')
        else answer(socket, received)
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterEach(() => server.close())

  const start = (options: GatewayOptions = {}): Promise<Gateway> => {
    const { port } = server.address() as AddressInfo
    return startGateway({
      sql: 'postgres',
      upstream: { host: '127.0.0.1', port, password: 'canary-password' },
      ...options,
    })
  }
  const ready = [backend.authenticationOk(), backend.readyForQuery('I')]

  it('sends the password in clear text on this machine', async () => {
    let password = ''
    answer = (socket, received) => {
      if (received[0] !== 0x70) socket.write(backend.authenticationCleartextPassword())
      else {
        password = received.toString('utf8', 5, received.length - 1)
        socket.write(Buffer.concat(ready))
      }
    }
    const gateway = await start()
    const client = new Client({
      host: gateway.host,
      port: gateway.port,
      user: 'app',
      database: 'postgres',
      password: gateway.login().password,
      ssl: { ca: gateway.ca },
    })
    await client.connect()
    expect(password).toBe('canary-password')
    client.on('error', () => {})
    await gateway.close()
  })

  const cases: [what: string, code: string, bytes: () => Buffer][] = [
    ['asks for MD5', '28000', () => backend.encodeMessage(0x52, backend.int32(5), Buffer.alloc(4))],
    ['asks for GSSAPI', '28000', () => backend.encodeMessage(0x52, backend.int32(7))],
    [
      'offers no SCRAM-SHA-256',
      '28000',
      () => backend.encodeMessage(0x52, sasl('SCRAM-SHA-1\0\0')),
    ],
    [
      'sends a SCRAM message without an exchange',
      '28000',
      () => backend.encodeMessage(0x52, backend.int32(11)),
    ],
    [
      'announces a message of 2 GB',
      '08P01',
      () => Buffer.from('520x7fffffff'.replace('0x', ''), 'hex'),
    ],
  ]
  it.each(cases)('refuses the client if the server %s', async (_what, code, bytes) => {
    answer = (socket) => void socket.write(bytes())
    const gateway = await start()
    await expect(currentUser(gateway)).rejects.toMatchObject({ severity: 'FATAL', code })
    await gateway.close()
  })

  it('refuses the client if the server skips the end of the SCRAM exchange', async () => {
    answer = (socket, received) =>
      void socket.write(
        received[0] === 0x70
          ? Buffer.concat(ready)
          : backend.encodeMessage(0x52, sasl('SCRAM-SHA-256\0\0')),
      )
    const gateway = await start()
    await expect(currentUser(gateway)).rejects.toMatchObject({ code: '28000' })
    await gateway.close()
  })

  it('closes a session that is opened after the login timeout', async () => {
    let opening: Socket | undefined
    answer = (socket) => {
      opening = socket
    }
    const gateway = await start({ loginTimeoutMs: 1_000 })
    await expect(currentUser(gateway)).rejects.toMatchObject({ severity: 'FATAL', code: '57014' })
    const gone = once(opening!, 'close')
    opening!.write(Buffer.concat(ready))
    await gone
    expect(gateway.stats()).toMatchObject({ loginsAccepted: 0, sessionsOpen: 0 })
    await gateway.close()
  })

  it('refuses the client if the server closes the connection during the login', async () => {
    answer = (socket) => void socket.end(backend.authenticationOk())
    const gateway = await start()
    await expect(currentUser(gateway)).rejects.toMatchObject({ code: '08006' })
    await gateway.close()
  })

  it('makes startGateway reject if no PostgreSQL server responds', async () => {
    const other = createServer((socket) =>
      socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    )
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const attempt = startGateway({ sql: 'postgres', upstream: { host: '127.0.0.1', port } })
    await expect(attempt).rejects.toMatchObject({ code: 'ERR_GATEWAY_ENGINE' })
    other.close()
  })
})

describe('upstreamAddress', () => {
  const cases: [given: string, address: object][] = [
    ['postgres://localhost', { host: 'localhost' }],
    ['postgresql://localhost:5433/orders', { host: 'localhost', port: 5433, database: 'orders' }],
    ['postgres://:s%3Acret@127.0.0.1/', { host: '127.0.0.1', password: 's:cret' }],
    ['postgres://[::1]:5433/', { host: '::1', port: 5433 }],
    [
      'postgres://%2Fvar%2Frun%2Fpostgresql/orders',
      { host: '/var/run/postgresql', database: 'orders' },
    ],
    [
      'postgres:///orders?host=/var/run/postgresql&port=5433',
      { host: '/var/run/postgresql', port: 5433, database: 'orders' },
    ],
    ['postgres://localhost/%C3%A9?sslmode=prefer', { host: 'localhost', database: 'é' }],
  ]
  it.each(cases)('parses %s', (given, address) => {
    expect(upstreamAddress(given, 'upstream')).toEqual(address)
  })

  it('accepts an object without changes', () => {
    const given = { host: '/tmp', port: 5433, database: 'd', password: 'p' }
    expect(upstreamAddress(given, 'upstream')).toEqual(given)
  })
})
