import { once } from 'node:events'
import { createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { IncomingMessage } from 'node:http'
import { connect, type TLSSocket } from 'node:tls'
import { Client } from 'pg'
import { type ClientOptions, createWebSocketStream, WebSocket, WebSocketServer } from 'ws'
import { createWebSocketSql } from '../../adapters/postgres-js-websocket.js'
import { pgConfig } from '../../adapters/pg.js'
import { customLogin } from '../../core/index.js'
import { createCertificates } from '../../gateway/certificates.js'
import {
  type ConnectionState,
  errorResponse,
  type Gateway,
  handleConnection,
  readyForQuery,
  ServerError,
  startGateway,
} from '../../gateway/index.js'
import { startupPacket } from '../../wire/startup.js'

let gateway: Gateway
const ORIGIN = 'https://page.example.com'

beforeAll(async () => {
  gateway = await startGateway({
    engine: 'postgres',
    webSocket: {
      origins: [ORIGIN],
      maxMessageBytes: 1_024,
      idleTimeoutMs: 1_000,
      onRequest: (_request, response) => response.end('a page'),
    },
  })
})
afterAll(() => gateway?.close())

function open(options: ClientOptions = {}): WebSocket {
  return new WebSocket(`wss://localhost:${gateway.port}`, { ca: gateway.ca, ...options })
}

/** Resolves with the close code, and with what was received. */
async function closed(socket: WebSocket): Promise<{ code: number; received: Buffer }> {
  const parts: Buffer[] = []
  socket.on('message', (data: Buffer) => parts.push(data))
  socket.on('error', () => {})
  const [code] = (await once(socket, 'close')) as [number]
  return { code, received: Buffer.concat(parts) }
}

const KEY = Buffer.alloc(16).toString('base64')
const STARTUP = startupPacket(new Map([['user', 'app']]))

describe('a gateway with WebSockets', () => {
  it('serves clients over TCP and over WebSocket at the same port, with the same checks', async () => {
    const login = gateway.login()
    const client = new Client(pgConfig(login))
    const sql = createWebSocketSql(login, { max: 1 })
    await client.connect()
    const query = 'SELECT current_user::text AS name'
    const { rows } = await client.query(query)
    expect([rows, [...(await sql.unsafe(query))]]).toEqual([[{ name: 'app' }], [{ name: 'app' }]])
    await Promise.all([client.end(), sql.end()])
    const forged = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'none' }
    const refused = createWebSocketSql(gateway.login({ credentials: forged }), { max: 1 })
    await expect(refused`SELECT 1`).rejects.toThrow('access denied')
    await refused.end()
  })

  it('accepts a client without an origin, of its own origin, and of a listed one, and no other', async () => {
    const outcome = async (origin: string | undefined): Promise<unknown> => {
      const socket = open(origin === undefined ? {} : { origin })
      const opened = once(socket, 'open').then(
        () => 'opened',
        (error: Error) => error.message,
      )
      const result = await opened
      socket.on('error', () => {}).terminate()
      return result
    }
    expect(await outcome(undefined)).toBe('opened')
    expect(await outcome(`https://localhost:${gateway.port}`)).toBe('opened')
    expect(await outcome(ORIGIN)).toBe('opened')
    expect(await outcome('https://evil.example.com')).toBe('Unexpected server response: 403')
    expect(await outcome('null')).toBe('Unexpected server response: 403')
  })

  it('ends a connection with a message above its limit, with the close code 1009', async () => {
    const socket = open()
    await once(socket, 'open')
    const end = closed(socket)
    socket.send(Buffer.alloc(1_025))
    expect(await end).toMatchObject({ code: 1009 })
  })

  it('ends a connection with a text message', async () => {
    const socket = open()
    await once(socket, 'open')
    const end = closed(socket)
    socket.send('SELECT 1')
    expect((await end).code).toBe(1003)
  })

  it('ends a connection without messages, with the close code 1001', async () => {
    const socket = open()
    await once(socket, 'open')
    expect(await closed(socket)).toMatchObject({ code: 1001 })
  })

  it('takes messages that begin and end anywhere, one for each byte too', async () => {
    const socket = open()
    await once(socket, 'open')
    const first = once(socket, 'message') as Promise<[Buffer]>
    for (const byte of STARTUP) socket.send(Buffer.of(byte))
    const [answer] = await first
    // AuthenticationCleartextPassword
    expect(answer).toEqual(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]))
    socket.terminate()
  })

  it('gives other HTTP requests to the listener of its options', async () => {
    const { hostname, port } = new URL(`https://localhost:${gateway.port}`)
    const sent = request({ hostname, port, ca: gateway.ca, agent: false }).end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    const [body] = (await once(response, 'data')) as [Buffer]
    expect(String(body)).toBe('a page')
  })

  it('ends a client that sends no request within the time of a login, also after another request', async () => {
    const other = await startGateway({
      engine: 'postgres',
      loginTimeoutMs: 500,
      webSocket: { onRequest: (_request, response) => response.end('a page') },
    })
    const open = (): TLSSocket =>
      connect({ port: other.port, ca: other.ca, servername: 'localhost' })
    const [silent, partial, kept] = [open(), open(), open()]
    partial.write('GET / HTTP/1.1\r\nX: ')
    kept.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const [answer] = (await once(kept, 'data')) as [Buffer]
    expect(String(answer)).toMatch(/a page/)
    await Promise.all([silent, partial, kept].map((socket) => once(socket.resume(), 'close')))
    await other.close()
  })

  it('counts clients without a request among those that have not logged in', async () => {
    const other = await startGateway({
      engine: 'postgres',
      maxPendingLogins: 2,
      loginTimeoutMs: 600_000,
      webSocket: true,
    })
    const sockets = Array.from({ length: 3 }, () =>
      connect({ port: other.port, ca: other.ca, servername: 'localhost' })
        .resume()
        // A reset may come first.
        .on('error', () => {}),
    )
    await new Promise((resolve) => {
      for (const socket of sockets) socket.once('close', resolve)
    })
    for (const socket of sockets) socket.destroy()
    await other.close()
  })

  it.each([
    [
      'of another version',
      ['Upgrade: websocket', 'Sec-WebSocket-Version: 12', `Sec-WebSocket-Key: ${KEY}`],
      400,
    ],
    [
      'with a bad key',
      ['Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: no'],
      400,
    ],
    ['to another protocol', ['Upgrade: h2c'], 400],
    [
      'of another origin',
      [
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        `Sec-WebSocket-Key: ${KEY}`,
        'Origin: https://evil.example.com',
      ],
      403,
    ],
  ])('answers an upgrade %s, and closes the connection', async (_what, headers, status) => {
    const socket = connect({ port: gateway.port, ca: gateway.ca, servername: 'localhost' })
    const head = [
      'GET / HTTP/1.1',
      `Host: localhost:${gateway.port}`,
      'Connection: Upgrade',
      ...headers,
    ]
    socket.write(`${head.join('\r\n')}\r\n\r\n`)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(String(answer)).toMatch(new RegExp(`^HTTP/1.1 ${status}`))
    await once(socket, 'close')
  })

  it('survives a listener for requests that throws, or rejects', async () => {
    for (const onRequest of [
      () => {
        throw new Error('out of order')
      },
      () => Promise.reject(new Error('out of order')),
    ]) {
      const other = await startGateway({ engine: 'postgres', webSocket: { onRequest } as never })
      const sent = request({ hostname: 'localhost', port: other.port, ca: other.ca }).end()
      const [response] = (await once(sent, 'response')) as [IncomingMessage]
      expect(response.resume().statusCode).toBe(500)
      await other.close()
    }
  })

  it('ends the sessions of WebSockets when it closes', async () => {
    const other = await startGateway({ engine: 'postgres', webSocket: true })
    const sql = createWebSocketSql(other.login(), { max: 1, fetch_types: false })
    await sql`SELECT 1`
    const idle = new WebSocket(`wss://localhost:${other.port}`, { ca: other.ca })
    await once(idle, 'open')
    const ended = closed(idle)
    await other.close()
    await ended
    await expect(sql`SELECT 1`).rejects.toBeDefined()
    await sql.end({ timeout: 1 })
  })
})

it('handleConnection serves the stream of a WebSocket of its caller, secured by the TLS below it', async () => {
  const { ca, certificate, privateKey } = await createCertificates(['localhost'])
  const server = createServer({ key: privateKey, cert: certificate })
  const sockets = new WebSocketServer({ server })
  const states: ConnectionState[] = []
  sockets.on('connection', (socket, { socket: secured }) => {
    handleConnection(createWebSocketStream(socket), {
      securedBy: secured as TLSSocket,
      requireTls: true,
      auth: 'cleartext',
      validateCredentials: ({ password }) => password === 'secret',
      onSession: (state) => void states.push(state),
      onMessage: (message) =>
        message[0] === 0x51
          ? Buffer.concat([
              errorResponse(new ServerError('0A000', 'no database here')),
              readyForQuery('I'),
            ])
          : undefined,
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const login = customLogin({
    host: 'localhost',
    user: 'app',
    connectTo: { host: '127.0.0.1', port },
    tls: { ca },
    getToken: () => 'secret',
  })
  const sql = createWebSocketSql(login, { max: 1, fetch_types: false })
  await expect(sql.unsafe('SELECT 1').simple()).rejects.toThrow('no database here')
  expect(states[0]).toMatchObject({
    tls: { serverName: 'localhost', negotiation: 'direct' },
    remoteAddress: '127.0.0.1',
  })
  await sql.end({ timeout: 1 })
  for (const socket of sockets.clients) socket.terminate()
  await new Promise((resolve) => server.close(resolve))
})

describe('a gateway without the option "webSocket"', () => {
  it('takes no HTTP', async () => {
    const other = await startGateway({ engine: 'postgres' })
    const socket = new WebSocket(`wss://localhost:${other.port}`, {
      ca: other.ca,
      ALPNProtocols: ['http/1.1'],
    } as ClientOptions)
    const [error] = (await once(socket, 'error')) as [Error]
    expect(error.message).toMatch(/alert no application protocol/)
    await other.close()
  })

  it.each([
    [
      'origins',
      { origins: ['page.example.com'] },
      /"webSocket.origins\[0\]" must be an origin without a path/,
    ],
    ['maxMessageBytes', { maxMessageBytes: 1 }, /"webSocket.maxMessageBytes"/],
    ['an unknown one', { port: 443 }, /"webSocket.port"/],
  ])('refuses a wrong value: %s', async (_name, webSocket, message) => {
    await expect(startGateway({ webSocket: webSocket as never })).rejects.toThrow(message)
  })
})
