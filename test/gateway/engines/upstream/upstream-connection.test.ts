import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { sslRequestPacket } from '../../../../core/wire/startup-packet.js'
import { startGateway, type Gateway } from '../../../../gateway/index.js'
import { authenticationOk, readyForQuery } from '../../../../gateway/wire/backend-messages.js'
import { errorFields, loggedIn, openTls, password, query, startup } from '../../raw-client.js'
import { frontend } from '../../wire/frontend-messages.js'

/** One connection of the gateway, seen from the server behind it. */
interface Connection {
  readonly socket: Socket
  /** All that came so far. */
  received: Buffer
  /** Resolves when the gateway has ended it. */
  readonly ended: Promise<unknown>
}

const APP = { user: 'app', database: 'postgres' }
let server: Server
let gateway: Gateway
/** Those that are not taken yet, without that of the gateway's start. */
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
  gateway = await startGateway({ upstream: { host: '127.0.0.1', port } })
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

/** A client that has not begun TLS yet. */
async function openPlain(): Promise<Socket> {
  const client = connect(gateway.port, '127.0.0.1')
  await once(client, 'connect')
  return client
}

it('PostgreSQL is not connected to before the token of the client is accepted', async () => {
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
  expect(connections).toHaveLength(0)
  client.socket.destroy()
})

it.each(['Terminate', 'end', 'destroy'] as const)(
  'PostgreSQL gets a Terminate, once, from a client that leaves by %s',
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
