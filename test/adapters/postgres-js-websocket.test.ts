import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Sql } from 'postgres'
import { type WebSocket, WebSocketServer } from 'ws'
import {
  createWebSocketSql,
  type WebSocketSqlOptions,
} from '../../adapters/postgres-js-websocket.js'
import { customLogin, type Login } from '../../core/index.js'
import { createCertificates } from '../../gateway/certificates.js'
import { type Gateway, startGateway } from '../../gateway/index.js'
import { client } from '../clients/postgres-js-websocket.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { eventually } from '../support/eventually.js'
import { type Relay, startRelay } from '../support/relay.js'

describeAdapterContract(client)

describe('createWebSocketSql', () => {
  const server = useContractServer()
  const opened: Sql[] = []
  const open = (options: WebSocketSqlOptions = {}, login: Login = server().login()): Sql => {
    const sql = createWebSocketSql(login, { max: 1, ...options })
    opened.push(sql)
    return sql
  }
  afterEach(() => Promise.all(opened.splice(0).map((sql) => sql.end({ timeout: 1 }))))

  it('sends and receives a row of 20 MB', async () => {
    const sql = open()
    const data = Buffer.alloc(20_000_000, 'x')
    const [row] = await sql<
      { size: number; data: Buffer }[]
    >`SELECT length(${data}) AS size, ${data}::bytea AS data`
    expect([row!.size, row!.data.equals(data)]).toEqual([data.length, true])
  })

  it('calls onReservedConnectionClose with connectionId for a reserved connection that is lost, and for no other', async () => {
    const closed: string[] = []
    const sql = open({
      max: 2,
      connectionId: 'report',
      onReservedConnectionClose: (id) => void closed.push(id),
    })
    const released = await sql.reserve()
    released.release()
    await sql`SELECT 1`
    await server().endSessions()
    expect(closed).toEqual([])
    const reserved = await sql.reserve()
    await server().endSessions()
    await eventually('the call', () => closed.length > 0)
    expect(closed).toEqual(['report'])
    await expect(reserved`SELECT 1`).rejects.toBeDefined()
    reserved.release()
  })

  it('does not call onReservedConnectionClose for a connection that is lost before reserve() resolves with another one', async () => {
    const closed: string[] = []
    const sql = open({ onReservedConnectionClose: (id) => void closed.push(id) })
    await sql`SELECT 1`
    const sleeping = sql`SELECT pg_sleep(600)`.catch((error: unknown) => error)
    // Behind the query on the only connection.
    const reserving = sql.reserve()
    await server().endSessions()
    await sleeping
    const reserved = await reserving
    expect([...(await reserved`SELECT 1 AS one`)]).toEqual([{ one: 1 }])
    expect(closed).toEqual([])
    reserved.release()
  })

  it.each([
    ['connectionCheck', { connectionCheck: 1 }],
    ['connectionId', { connectionId: 1 }],
    ['onReservedConnectionClose', { onReservedConnectionClose: 'none' }],
  ])('refuses a wrong %s', (name, options) => {
    expect(() => createWebSocketSql(server().login(), options as never)).toThrow(
      `"${name}" must be`,
    )
  })
})

describe('createWebSocketSql on PostgreSQL', () => {
  let gateway: Gateway
  let relay: Relay
  let sql: Sql
  beforeAll(async () => {
    gateway = await startGateway({ sql: 'postgres', webSocket: true })
    relay = await startRelay(gateway)
  })
  afterEach(() => sql.end({ timeout: 1 }))
  afterAll(async () => {
    await relay.close()
    await gateway.close()
  })
  const open = (options: WebSocketSqlOptions = {}): Sql =>
    (sql = createWebSocketSql(
      gateway.login({ connectTo: { host: '127.0.0.1', port: relay.port } }),
      { max: 1, ...options },
    ))

  it('copies, streams with a cursor, and listens, as over TCP', async () => {
    open({ max: 2 })
    let hear: (news: string) => void = () => {}
    const heard = new Promise<string>((resolve) => (hear = resolve))
    await sql.listen('news', hear)
    await sql.notify('news', 'today')
    expect(await heard).toBe('today')
    let rows = 0
    for await (const part of sql`SELECT generate_series(1, 1000) AS n`.cursor(100))
      rows += part.length
    expect(rows).toBe(1_000)
    const readable = await sql`COPY (SELECT generate_series(1, 100000)) TO STDOUT`.readable()
    let bytes = 0
    for await (const chunk of readable) bytes += (chunk as Buffer).length
    expect(bytes).toBe(588_895)
  })

  it('checks a connection before a query once it was idle for a second, and not in a transaction, a pipeline or COPY', async () => {
    open({ connectionCheck: true })
    const checks = async (work: () => Promise<unknown>): Promise<number> => {
      const before = relay.roundTrips()
      await work()
      return relay.roundTrips() - before
    }
    const second = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 1_100))
    await sql`SELECT 1`
    const plain = await checks(() => sql`SELECT 1`)
    await second()
    expect(await checks(() => sql`SELECT 1`)).toBe(plain + 1)
    await sql.begin(async (transaction) => {
      await transaction`SELECT 1`
      await second()
      expect(await checks(() => transaction`SELECT 1`)).toBe(plain)
    })
    await second()
    const results = await Promise.all([1, 2, 3].map((n) => sql`SELECT ${n}::int AS n`))
    expect(results.map(([row]) => row!['n'])).toEqual([1, 2, 3])
    const aborted = sql.begin(async (transaction) => {
      await transaction`SELECT 1/0`.catch(() => {})
      await second()
      await transaction`SELECT 1`
    })
    await expect(aborted).rejects.toMatchObject({ code: '22012' })
    const readable = await sql`COPY (SELECT 1) TO STDOUT`.readable()
    await second()
    for await (const chunk of readable) expect(String(chunk)).toBe('1\n')
    await sql`SELECT 1`
  })

  it('does not send a query on a connection whose network is lost, and rejects it within the time of the check', async () => {
    open({ connectionCheck: true })
    await sql`CREATE TABLE IF NOT EXISTS lost (id int)`
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    relay.hold()
    await expect(sql`INSERT INTO lost VALUES (1)`).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: expect.stringContaining('did not answer within 5000 ms'),
    })
    relay.release()
    await eventually('a query', async () => {
      const [row] = await sql`SELECT count(*)::int AS count FROM lost`
      return row!['count'] === 0
    })
  })
})

describe('the built package without ws', () => {
  it('uses the WebSocket of Node, if it has one, and else names the package', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pg-iam-no-ws-'))
    const gateway = await startGateway({
      endpoints: [
        {
          provider: 'password',
          hosts: ['localhost'],
          users: { app: 'secret' },
          method: 'cleartext',
        },
      ],
      webSocket: true,
    })
    try {
      cpSync('dist/esm', join(folder, 'dist'), { recursive: true })
      writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
      writeFileSync(join(folder, 'ca.pem'), gateway.ca)
      cpSync('node_modules/postgres', join(folder, 'node_modules/postgres'), { recursive: true })
      writeFileSync(
        join(folder, 'main.js'),
        `import { customLogin } from './dist/core/index.js'
         import { createWebSocketSql } from './dist/adapters/postgres-js-websocket.js'
         const open = (tls) => createWebSocketSql(customLogin({
           host: 'localhost', user: 'app', connectTo: { host: 'localhost', port: ${gateway.port} },
           getToken: () => 'secret', tls,
         }), { max: 1 })
         const told = []
         for (const tls of [{}, { ca: 'ca.pem' }]) {
           const sql = open(tls)
           told.push(await sql\`SELECT 1 AS one\`.then(([{ one }]) => one, ({ code, hint }) => [code, hint]))
           await sql.end({ timeout: 1 })
         }
         console.log(JSON.stringify(told))`,
      )
      const { stdout } = await promisify(execFile)(process.execPath, ['main.js'], {
        cwd: folder,
        env: { ...process.env, NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') },
      })
      const missing = ['ERR_PEER_MISSING', 'Run: npm install ws']
      const hasOwn = 'WebSocket' in globalThis
      expect(JSON.parse(stdout)).toEqual([hasOwn ? 1 : missing, missing])
    } finally {
      await gateway.close()
      rmSync(folder, { recursive: true })
    }
  })
})

describe('a server that is no PostgreSQL behind a WebSocket', () => {
  let https: Server
  let sockets: WebSocketServer
  let loginTo: (tls?: object) => Login
  /** What happens to a WebSocket, and to other requests. */
  let serve: (socket: WebSocket) => void = () => {}
  let status: number | undefined
  /** What it adds to its answer. */
  let extension: string | undefined

  beforeAll(async () => {
    const { ca, certificate, privateKey } = await createCertificates(['localhost'])
    https = createServer({ key: privateKey, cert: certificate })
    sockets = new WebSocketServer({ noServer: true })
    sockets.on('headers', (headers) => {
      if (extension !== undefined) headers.push(`Sec-WebSocket-Extensions: ${extension}`)
    })
    https.on('upgrade', (request, socket, head) => {
      if (status !== undefined) {
        socket.end(
          `HTTP/1.1 ${status} No\r\nLocation: https://localhost/\r\nContent-Length: 0\r\n\r\n`,
        )
        return
      }
      sockets.handleUpgrade(request, socket, head, (one) => serve(one))
    })
    https.listen(0, '127.0.0.1')
    await once(https, 'listening')
    const { port } = https.address() as AddressInfo
    loginTo = (tls) =>
      customLogin({
        host: 'localhost',
        user: 'app',
        connectTo: { host: '127.0.0.1', port },
        tls: { ca, ...tls },
        getToken: () => 'secret-token',
        connectTimeoutMs: 2_000,
      })
  })
  afterEach(() => {
    status = extension = undefined
    serve = () => {}
  })
  afterAll(async () => {
    https.closeAllConnections()
    for (const one of sockets.clients) one.terminate()
    await new Promise((resolve) => https.close(resolve))
  })

  const failure = async (): Promise<Error> => {
    const sql = createWebSocketSql(loginTo(), { max: 1, fetch_types: false })
    const error = await rejectionOf(sql`SELECT 1`)
    await sql.end({ timeout: 1 })
    return error as Error
  }

  it.each([200, 302, 404, 503])(
    'answers with the HTTP status %i, which the error names',
    async (code) => {
      status = code
      expect((await failure()).message).toMatch(
        new RegExp(
          `WebSocket to localhost:\\d+ did not open .*Unexpected server response: ${code}`,
        ),
      )
    },
  )

  it('compresses without being asked, which the error says', async () => {
    extension = 'permessage-deflate'
    expect((await failure()).message).toMatch(/did not open .*Sec-WebSocket-Extensions/)
  })

  it('closes before an answer, and the error has the close code and the reason', async () => {
    serve = (socket) => socket.close(4_000, 'maintenance')
    expect(await failure()).toMatchObject({
      closeCode: 4_000,
      message: expect.stringContaining('maintenance'),
    })
  })

  it('sends a text message, which is ERR_PROTOCOL', async () => {
    serve = (socket) => socket.send('hello')
    expect(await failure()).toMatchObject({ code: 'ERR_PROTOCOL' })
  })

  it('sends something else than PostgreSQL, which is ERR_PROTOCOL', async () => {
    serve = (socket) => socket.send(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))
    expect(await failure()).toMatchObject({ code: 'ERR_PROTOCOL' })
  })

  it('says nothing, which is ERR_CONNECT_TIMEOUT', async () => {
    expect(await failure()).toMatchObject({ code: 'ERR_CONNECT_TIMEOUT' })
    await eventually('no connection to be left', () => sockets.clients.size === 0)
  })

  it('gets no token if its certificate is not trusted', async () => {
    let received = 0
    serve = (socket) => socket.on('message', () => void received++)
    const sql = createWebSocketSql(loginTo({ servername: 'db.example.com' }), { max: 1 })
    await expect(rejectionOf(sql`SELECT 1`)).resolves.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
    await sql.end({ timeout: 1 })
    expect(received).toBe(0)
  })
})
