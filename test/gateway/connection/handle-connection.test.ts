import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { Client, type ClientConfig } from 'pg'
import postgres from 'postgres'
import {
  commandComplete,
  createLimits,
  dataRow,
  type Engine,
  handleConnection,
  type HandleConnectionOptions,
  iamAuth,
  Oid,
  readFrontendMessage,
  readyForQuery,
  rowDescription,
  upstreamEngine,
} from '../../../gateway/index.js'
import { auroraDsql } from '../../../core/index.js'
import { createPool } from '../../../adapters/pg.js'
import { rejectionOf } from '../../core/support/caught.js'
import { certificatesFor, serve, type Served } from './served.js'
import { createClientAuthority } from '../auth/client-certificates.js'
import { rawClient, startup } from '../raw-client.js'
import { usePostgres } from '../upstream-gateway.js'
import { frontend, int32, text } from '../../wire/frontend-messages.js'

const server = usePostgres(['admin', 'app'])
let engine: Engine
let tls: { key: string; cert: string; ca: string }
beforeAll(async () => {
  const { socketDirectory, port } = server.server()
  engine = await upstreamEngine({ host: socketDirectory, port })
  tls = await certificatesFor('localhost', 'db.example.com', '127.0.0.1')
})
afterAll(async () => {
  await engine.close()
})

const opened: Served[] = []
afterEach(async () => {
  for (const served of opened.splice(0)) await served.close()
})

async function serving(options: Parameters<typeof serve>[0]): Promise<Served> {
  const served = await serve(options)
  opened.push(served)
  return served
}

function clientOf({ port }: Pick<Served, 'port'>, config: ClientConfig = {}): Client {
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: 'app',
    database: 'postgres',
    password: 'secret',
    ...config,
  })
  client.on('error', () => {})
  return client
}

/** What a client reads with one query. */
async function ask(
  served: Pick<Served, 'port'>,
  config: ClientConfig = {},
  sql = 'SELECT 1 AS one',
) {
  const client = clientOf(served, config)
  try {
    await client.connect()
    return (await client.query(sql)).rows as unknown[]
  } finally {
    await client.end()
  }
}

async function rawOf({ port }: Served): Promise<ReturnType<typeof rawClient>> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return rawClient(socket)
}

describe('handleConnection', () => {
  it('serves an engine over TLS with a password, as in the documentation', async () => {
    const seen: unknown[] = []
    const { key, cert, ca } = tls
    const served = await serving(() => ({
      engine,
      auth: 'cleartext',
      serverVersion: '17.0 (mine)',
      tls: { key, cert },
      onTlsUpgrade: (state) => seen.push(state.tls?.serverName),
      onStartup: (state) => seen.push(state.startup?.user),
      validateCredentials: (credentials) =>
        credentials.method === 'cleartext' && credentials.password === 'secret',
      onAuthenticated: (state) => seen.push(state.authenticated),
    }))
    const ssl = { ca, servername: 'db.example.com' }
    const client = clientOf(served, { ssl })
    const versions: string[] = []
    client.connection.on(
      'parameterStatus',
      (message: { parameterName: string; parameterValue: string }) => {
        if (message.parameterName === 'server_version') versions.push(message.parameterValue)
      },
    )
    await client.connect()
    expect((await client.query('SELECT $1::int + 1 AS two', [1])).rows).toEqual([{ two: 2 }])
    await client.end()
    expect(seen).toEqual(['db.example.com', 'app', true])
    expect(versions).toEqual(['17.0 (mine)'])
    expect(await rejectionOf(ask(served, { ssl, password: 'wrong' }))).toMatchObject({
      code: '28P01',
      message: 'password authentication failed for user "app"',
    })
  })

  it('serves Postgres.js, which pipelines its first query with the login', async () => {
    const served = await serving({ engine })
    const sql = postgres({
      host: '127.0.0.1',
      port: served.port,
      user: 'app',
      database: 'postgres',
      max: 1,
    })
    expect(await Promise.all([sql`SELECT 1 AS a`, sql`SELECT ${2}::int AS b`])).toEqual([
      [{ a: 1 }],
      [{ b: 2 }],
    ])
    await sql.end()
  })

  it('refuses a login without TLS if it has TLS, unless requireTls is false', async () => {
    const served = await serving({ engine, tls })
    expect(await rejectionOf(ask(served))).toMatchObject({
      code: '28000',
      message: expect.stringContaining('no encryption') as string,
    })
    const lenient = await serving({ engine, tls, requireTls: false })
    expect(await ask(lenient)).toEqual([{ one: 1 }])
    expect(await ask(lenient, { ssl: { ca: tls.ca } })).toEqual([{ one: 1 }])
  })

  it('answers an SSLRequest with N if it has no TLS', async () => {
    const served = await serving({ engine })
    const error = await rejectionOf(ask(served, { ssl: { ca: tls.ca } }))
    expect(error).toMatchObject({ message: 'The server does not support SSL connections' })
  })

  it('takes the certificate for the server name from a function, and refuses the names it does not know', async () => {
    const other = await certificatesFor('other.example.com')
    const names: unknown[] = []
    const served = await serving({
      engine,
      tls: async (name) => {
        names.push(name)
        return name === 'db.example.com' ? tls : name === 'other.example.com' ? other : undefined
      },
    })
    for (const [servername, { ca }] of [
      ['db.example.com', tls],
      ['other.example.com', other],
    ] as const)
      expect(await ask(served, { ssl: { ca, servername } })).toEqual([{ one: 1 }])
    const unknown = { ca: tls.ca, servername: 'unknown.example.com' }
    expect(await rejectionOf(ask(served, { ssl: unknown }))).toMatchObject({ code: 'ECONNRESET' })
    expect(names).toEqual(expect.arrayContaining(['other.example.com', 'unknown.example.com']))
  })

  it('speaks TLS on a stream that is not a socket', async () => {
    const server = createServer((socket) => {
      const stream = Duplex.from({ readable: socket, writable: socket })
      handleConnection(stream, { engine, tls })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    expect(await ask({ port }, { ssl: { ca: tls.ca } })).toEqual([{ one: 1 }])
    server.close()
  })

  describe('by its authentication', () => {
    it.each(['cleartext', 'md5', 'scram-sha-256'] as const)(
      '%s compares with the password of a function, and then asks validateCredentials',
      async (auth) => {
        const asked: unknown[] = []
        const served = await serving({
          engine,
          auth,
          tls,
          password: async ({ startup }) => (startup?.user === 'app' ? 'secret' : undefined),
          validateCredentials(credentials, { phase }) {
            asked.push([credentials, phase])
            return credentials.user === 'app'
          },
        })
        const ssl = { ca: tls.ca }
        expect(await ask(served, { ssl })).toEqual([{ one: 1 }])
        const own = auth === 'cleartext' ? { password: 'secret' } : {}
        expect(asked).toEqual([[{ method: auth, user: 'app', ...own }, 'authentication']])
        for (const config of [{ password: 'wrong' }, { user: 'admin' }])
          expect(await rejectionOf(ask(served, { ssl, ...config }))).toMatchObject({
            code: '28P01',
          })
        expect(asked).toHaveLength(1)
      },
    )

    it.each(['cleartext', 'md5', 'scram-sha-256'] as const)(
      '%s accepts the stored form of a password',
      async (auth) => {
        const client = new Client({
          host: server.server().socketDirectory,
          port: server.server().port,
          user: server.server().superuser,
          database: 'postgres',
        })
        await client.connect()
        await client.query(
          "SET password_encryption = 'scram-sha-256'; CREATE ROLE stored PASSWORD 'secret'",
        )
        const { rows } = await client.query<{ md5: string; scram: string }>(
          "SELECT 'md5' || md5('secretapp') AS md5, rolpassword AS scram FROM pg_authid WHERE rolname = 'stored'",
        )
        await client.query('DROP ROLE stored')
        await client.end()
        const { md5, scram } = rows[0]!
        const forms = {
          cleartext: [scram, md5],
          md5: [md5],
          'scram-sha-256': [scram],
        }
        for (const password of forms[auth]) {
          const served = await serving({ engine, auth, password: () => password })
          expect(await ask(served)).toEqual([{ one: 1 }])
          expect(await rejectionOf(ask(served, { password: 'wrong' }))).toMatchObject({
            code: '28P01',
          })
        }
      },
    )

    it('certificate accepts the common name of a trusted certificate, or what validateCredentials accepts', async () => {
      const authority = await createClientAuthority('Clients')
      const { ca: trusted } = tls
      const client = await authority.issue('CN=app')
      const other = await authority.issue('CN=someone')
      const served = await serving({
        engine,
        auth: 'certificate',
        tls: { ...tls, ca: authority.ca },
      })
      expect(await ask(served, { ssl: { ...client, ca: trusted } })).toEqual([{ one: 1 }])
      expect(await rejectionOf(ask(served, { ssl: { ...other, ca: trusted } }))).toMatchObject({
        code: '28000',
      })
      const seen: unknown[] = []
      const lenient = await serving({
        engine,
        auth: 'certificate',
        tls: { ...tls, ca: authority.ca },
        validateCredentials(credentials) {
          if (credentials.method === 'certificate')
            seen.push(credentials.commonName, credentials.authorized)
          return true
        },
      })
      expect(await ask(lenient, { ssl: { ...other, ca: trusted } })).toEqual([{ one: 1 }])
      expect(seen).toEqual(['someone', true])
    })

    it('iamAuth accepts the tokens of a provider, with its errors', async () => {
      const host = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
      const own = await certificatesFor(host)
      const key = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'secret' }
      const served = await serving({
        engine,
        tls: own,
        auth: iamAuth({
          provider: 'aurora-dsql',
          hosts: [host],
          principals: [{ ...key, roles: ['app'] }],
        }),
        role: () => 'admin',
      })
      const login = (secretAccessKey: string) =>
        auroraDsql({
          host,
          user: 'app',
          signer: 'built-in',
          credentials: { ...key, secretAccessKey },
          connectTo: { host: '127.0.0.1', port: served.port },
          tls: { ca: own.ca },
          connectTimeoutMs: 60_000,
        })
      const pool = createPool(login(key.secretAccessKey))
      expect((await pool.query('SELECT current_user')).rows).toEqual([{ current_user: 'admin' }])
      await pool.end()
      const wrong = createPool(login('wrong'))
      expect(await rejectionOf(wrong.query('SELECT 1'))).toMatchObject({ code: '08006' })
      await wrong.end()
    })
  })

  it("maps users to the engine's roles, and refuses a name without a role", async () => {
    const served = await serving({
      engine,
      role: ({ startup }) => (startup?.user === 'alice' ? 'app' : (startup?.user ?? '')),
    })
    expect(await ask(served, { user: 'alice' })).toEqual([{ one: 1 }])
    expect(await rejectionOf(ask(served, { user: 'nobody' }))).toMatchObject({
      code: '28000',
      message: 'role "nobody" does not exist',
    })
  })

  it('without an engine, answers what onMessage answers, and refuses all else', async () => {
    const served = await serving({
      onMessage(message) {
        const read = readFrontendMessage(message)
        if (read.type !== 'query' || !read.sql.startsWith('SELECT')) return undefined
        return Buffer.concat([
          rowDescription([{ name: 'n', type: Oid.int4 }]),
          dataRow([42]),
          commandComplete('SELECT 1'),
          readyForQuery('I'),
        ])
      },
    })
    expect(await ask(served)).toEqual([{ n: 42 }])
    expect(await rejectionOf(ask(served, {}, 'UPDATE x SET y = 1'))).toMatchObject({
      code: '0A000',
    })
    const client = clientOf(served)
    await client.connect()
    expect(await rejectionOf(client.query('SELECT $1', ['x']))).toMatchObject({ code: '0A000' })
    expect((await client.query('SELECT 1')).rows).toEqual([{ n: 42 }])
    await client.end()
  })

  describe('with hooks', () => {
    const raised = (): Error =>
      Object.assign(new Error('not today'), { code: '0LP01', detail: 'd', hint: 'h' })
    const told = { code: '0LP01', message: 'not today', detail: 'd', hint: 'h' }
    const login: [name: string, options: HandleConnectionOptions][] = [
      ['onTlsUpgrade', { onTlsUpgrade: () => Promise.reject(raised()) }],
      [
        'onStartup',
        {
          onStartup: () => {
            throw raised()
          },
        },
      ],
      ['onAuthenticated', { onAuthenticated: () => Promise.reject(raised()) }],
      [
        'auth',
        {
          auth: () => {
            throw raised()
          },
        },
      ],
      ['engine', { engine: () => Promise.reject(raised()) }],
      [
        'role',
        {
          role: () => {
            throw raised()
          },
        },
      ],
      ['password', { auth: 'md5', password: () => Promise.reject(raised()) }],
      [
        'validateCredentials',
        {
          auth: 'cleartext',
          validateCredentials: () => {
            throw raised()
          },
        },
      ],
      [
        'onReply',
        {
          onReply: () => {
            throw raised()
          },
        },
      ],
    ]
    it.each(login)(
      'gives the client the error that %s throws, as a FATAL one',
      async (_name, own) => {
        const served = await serving({ engine, tls, ...own })
        const error = await rejectionOf(ask(served, { ssl: { ca: tls.ca } }))
        expect(error).toMatchObject({ ...told, severity: 'FATAL' })
        await Promise.all(served.connections.map(({ closed }) => closed))
      },
    )

    it('gives the client the error that onMessage throws, and goes on', async () => {
      const served = await serving({
        engine,
        onMessage(message) {
          if (Buffer.from(message).includes('forbidden')) throw raised()
          return undefined
        },
      })
      const client = clientOf(served)
      await client.connect()
      for (const values of [undefined, [1]]) {
        const sql = `SELECT ${values === undefined ? '1' : '$1::int'} AS forbidden`
        expect(await rejectionOf(client.query(sql, values))).toMatchObject({
          ...told,
          severity: 'ERROR',
        })
        expect((await client.query('SELECT $1::int AS n', [2])).rows).toEqual([{ n: 2 }])
      }
      const sql = postgres({
        host: '127.0.0.1',
        port: served.port,
        user: 'app',
        database: 'postgres',
        max: 1,
      })
      const results = await Promise.allSettled([
        sql`SELECT 1 AS a`,
        sql`SELECT ${1}::int AS forbidden`,
        sql`SELECT 3 AS c`,
      ])
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      await sql.end()
      await client.end()
    })

    it('sends the replies of onMessage in order, between those of the engine', async () => {
      const served = await serving({
        engine,
        onMessage(message) {
          const read = readFrontendMessage(message)
          if (read.type !== 'query' || !read.sql.includes('hooked')) return undefined
          const rows = async function* () {
            yield rowDescription([{ name: 'by', type: Oid.text }])
            await Promise.resolve()
            yield dataRow(['hook'])
            yield commandComplete('SELECT 1')
            yield readyForQuery('I')
          }
          return Promise.resolve(rows())
        },
      })
      const client = await rawOf(served)
      const query = (sql: string): Buffer => frontend('Q', text(sql))
      client.send(startup({ user: 'app', database: 'postgres' }))
      await client.next('Z')
      client.send(
        Buffer.concat([
          query("SELECT 'engine', repeat('x', 100000) FROM generate_series(1, 5)"),
          query('hooked'),
          query("SELECT 'engine'"),
          frontend('P', text('s'), text("SELECT 'extended'"), Buffer.alloc(2)),
          query('hooked'),
          frontend('B', text(''), text('s'), Buffer.alloc(2), Buffer.alloc(2), Buffer.alloc(2)),
          frontend('E', text(''), int32(0)),
          frontend('S'),
        ]),
      )
      const by: string[] = []
      for (let ready = 0; ready < 5;) {
        const { type, body } = await client.next('D', 'Z')
        if (type === 'Z') ready++
        else by.push(/engine|hook|extended/.exec(body.toString('latin1', 0, 30))![0])
      }
      expect(by).toEqual([...Array<string>(5).fill('engine'), 'hook', 'engine', 'hook', 'extended'])
      client.socket.destroy()
    })

    it('passes every message to onMessage, also the password, and every reply to onReply', async () => {
      const messages: string[] = []
      const replies: string[] = []
      const served = await serving({
        engine,
        auth: 'cleartext',
        validateCredentials: () => true,
        async onMessage(message, { phase }) {
          messages.push(`${phase} ${String.fromCharCode(message[0]!)}`)
          return undefined
        },
        async onReply(message) {
          const type = String.fromCharCode(message[0]!)
          if (type !== 'S') replies.push(type)
          return type === 'D' ? dataRow(['changed']) : undefined
        },
      })
      expect(await ask(served, {}, "SELECT 'x' AS x")).toEqual([{ x: 'changed' }])
      await Promise.all(served.connections.map(({ closed }) => closed))
      expect(messages).toEqual(['authentication p', 'session Q', 'session X'])
      expect(replies).toEqual(['Z', 'T', 'D', 'C', 'Z'])
    })

    it('lets a COPY pass, and ends it when onMessage throws in it', async () => {
      let isThrowing = false
      const served = await serving({
        engine,
        onMessage(message) {
          if (isThrowing && message[0] === 0x64) throw raised()
          return undefined
        },
      })
      const client = await rawOf(served)
      client.send(startup({ user: 'app', database: 'postgres' }))
      await client.next('Z')
      client.send(frontend('Q', text('CREATE TABLE copied (v int)')))
      await client.next('Z')
      const copy = Buffer.concat([
        frontend('Q', text('COPY copied FROM STDIN')),
        frontend('d', Buffer.from('1\n')),
        frontend('c'),
      ])
      client.send(copy)
      expect((await client.next('C', 'E')).type).toBe('C')
      await client.next('Z')
      isThrowing = true
      client.send(copy)
      expect((await client.next('C', 'E')).type).toBe('E')
      await client.next('Z')
      client.send(frontend('Q', text('SELECT count(*) FROM copied')))
      expect((await client.next('D')).body.toString('latin1', 6)).toBe('1')
      client.socket.destroy()
    })

    it('refuses a client whose hook does not settle, at its time limit', async () => {
      const served = await serving({
        engine,
        loginTimeoutMs: 50,
        onStartup: () => new Promise(() => {}),
      })
      expect(await rejectionOf(ask(served))).toMatchObject({ code: '57014' })
    })

    it('ends when the client leaves while onMessage does not settle', async () => {
      let asked: (() => void) | undefined
      const isAsked = new Promise<void>((resolve) => (asked = resolve))
      const served = await serving({
        engine,
        onMessage() {
          asked?.()
          return new Promise(() => {})
        },
      })
      const client = clientOf(served)
      await client.connect()
      client.query('SELECT 1').catch(() => {})
      await isAsked
      client.connection.stream.destroy()
      await served.connections[0]!.closed
    })
  })

  describe('detach()', () => {
    it('gives the decrypted stream away before the startup packet, as a reverse proxy by server name does', async () => {
      const target = await serving({ engine })
      const served = await serving({
        tls,
        async onTlsUpgrade() {
          const stream = await served.connections.at(-1)!.detach()
          const upstream = connect(target.port, '127.0.0.1')
          stream.pipe(upstream).pipe(stream)
          stream.on('error', () => {})
        },
      })
      expect(await ask(served, { ssl: { ca: tls.ca } })).toEqual([{ one: 1 }])
      expect(served.connections[0]!.state.phase).toBe('detached')
      await served.connections[0]!.closed
    })

    it('in onMessage gives back every byte that was not passed to a hook, and takes all listeners off', async () => {
      let taken: Promise<{ rest: Buffer; before: object; after: object }> | undefined
      const counts = (socket: Socket): object =>
        Object.fromEntries(socket.eventNames().map((name) => [name, socket.listenerCount(name)]))
      const served = await serving((socket) => {
        const before = counts(socket)
        return {
          engine,
          onMessage(message) {
            if (!Buffer.from(message).includes('detach')) return undefined
            taken = served.connections[0]!.detach().then(async (stream) => {
              const after = counts(stream as Socket)
              const chunks: Buffer[] = []
              stream.on('data', (chunk: Buffer) => chunks.push(chunk)).resume()
              await once(stream, 'end')
              return { rest: Buffer.concat(chunks), before, after }
            })
            return undefined
          },
        }
      })
      const client = await rawOf(served)
      client.send(startup({ user: 'app', database: 'postgres' }))
      await client.next('Z')
      const rest = Buffer.concat([frontend('Q', text('SELECT 2')), Buffer.from('Q\0\0\0')])
      client.send(Buffer.concat([frontend('Q', text('detach')), rest]))
      client.socket.end()
      await served.connections[0]!.closed
      const result = await taken!
      expect(result.rest).toEqual(rest)
      expect(result.after).toEqual(result.before)
    })

    it('is refused outside of a hook', async () => {
      const served = await serving({ engine })
      const client = clientOf(served)
      await client.connect()
      expect(await rejectionOf(served.connections[0]!.detach())).toMatchObject({
        code: 'ERR_OPTION_CONFLICT',
      })
      await client.end()
    })
  })

  it('ends a session with an error of the caller, and drains one after its transaction', async () => {
    const served = await serving({ engine })
    const client = clientOf(served)
    await client.connect()
    await client.query('BEGIN')
    const [connection] = served.connections
    connection!.drain({ code: '57P01', message: 'maintenance' })
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    const lost = once(client, 'error')
    await client.query('COMMIT')
    expect((await lost)[0]).toMatchObject({ code: '57P01', message: 'maintenance' })
    expect(await connection!.closed).toMatchObject({ message: 'maintenance' })
    expect(connection!.state.phase).toBe('closed')
  })

  it('sends an error that does not end the connection', async () => {
    const served = await serving({ engine })
    const client = await rawOf(served)
    client.send(startup({ user: 'app', database: 'postgres' }))
    await client.next('Z')
    served.connections[0]!.sendError({ code: '01000', message: 'told' })
    expect((await client.next('E')).body.toString()).toContain('told')
    client.send(frontend('Q', text('SELECT 1')))
    await client.next('Z')
    client.socket.destroy()
  })

  it('lets clients wait for one of maxConnections, in order, and refuses them after queueTimeoutMs', async () => {
    const limits = createLimits({ maxConnections: 1, queueTimeoutMs: 600_000 })
    const served = await serving({ engine, limits })
    const first = clientOf(served)
    await first.connect()
    const second = ask(served)
    const third = clientOf(served)
    const connecting = third.connect()
    await first.end()
    expect(await second).toEqual([{ one: 1 }])
    await connecting
    await third.end()
    const full = await serving({
      engine,
      limits: createLimits({ maxConnections: 1, queueTimeoutMs: 1 }),
    })
    const holder = clientOf(full)
    await holder.connect()
    expect(await rejectionOf(ask(full))).toMatchObject({ code: '53300' })
    await holder.end()
  })

  it('cancels a statement by a request over a connection of its own', async () => {
    const cancelled: unknown[] = []
    const own: Engine = {
      ...engine,
      openSession: async (request) => {
        const session = await engine.openSession(request)
        return Object.assign(session, { cancel: () => cancelled.push('cancelled') })
      },
    }
    const delivered: boolean[] = []
    const served = await serving({ engine: own, onCancelRequest: (is) => delivered.push(is) })
    const client = await rawOf(served)
    client.send(startup({ user: 'app', database: 'postgres' }))
    const { body } = await client.next('K')
    const request = await rawOf(served)
    request.send(Buffer.concat([int32(16), int32(80_877_102), body]))
    await once(request.socket, 'close')
    expect([cancelled, delivered]).toEqual([['cancelled'], [true]])
    client.socket.destroy()
  })

  it('accepts direct TLS with the ALPN protocol of PostgreSQL only', async () => {
    const served = await serving({ engine, tls })
    const secured = connectTls({
      port: served.port,
      host: '127.0.0.1',
      ca: tls.ca,
      ALPNProtocols: ['postgresql'],
    })
    await once(secured, 'secureConnect')
    const client = rawClient(secured)
    client.send(startup({ user: 'app', database: 'postgres' }))
    await client.next('Z')
    expect(served.connections[0]!.state.tls).toMatchObject({ alpn: 'postgresql' })
    secured.destroy()
    const plain = connectTls({ port: served.port, host: '127.0.0.1', ca: tls.ca })
    await once(plain, 'close')
  })

  const invalid: [what: string, options: object, message: RegExp][] = [
    ['an unknown option', { engin: 1 }, /"engin"/],
    ['an engine that is none', { engine: {} }, /"engine" must be an engine/],
    ['a certificate without a key', { tls: { cert: 'x' } }, /"tls" must be \{ key, cert \}/],
    ['a key that is none', { tls: { key: 'x', cert: 'y' } }, /"tls" must be a matching key/],
    ['a method without its password', { auth: 'md5' }, /"password" must be given with auth: "md5"/],
    ['clear text without a check', { auth: 'cleartext' }, /"validateCredentials" must be given/],
    ['certificates without TLS', { auth: 'certificate' }, /"tls" must be given with auth/],
    [
      'TLS that is required and not given',
      { requireTls: true },
      /"tls" must be given with "requireTls"/,
    ],
    ['an unknown method', { auth: 'gss' }, /"auth" must be/],
    [
      'limits of another kind',
      { limits: { maxConnections: 1 } },
      /"limits" must be the result of createLimits/,
    ],
    ['a hook that is none', { onMessage: 'x' }, /"onMessage" must be a function/],
  ]
  it.each(invalid)('rejects %s', async (_what, options, message) => {
    const served = await serving({})
    const socket = connect(served.port, '127.0.0.1')
    expect(() => handleConnection(socket, options)).toThrow(
      expect.objectContaining({ message: expect.stringMatching(message) as string }),
    )
    socket.destroy()
  })
})
