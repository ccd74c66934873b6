import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
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
  notificationResponse,
  Oid,
  parseComplete,
  readDataRow,
  readFrontendMessage,
  readyForQuery,
  rowDescription,
  startupPacket,
  upstreamEngine,
} from '../../../gateway/index.js'
import { auroraDsql } from '../../../core/index.js'
import { createPool } from '../../../adapters/pg.js'
import { rejectionOf } from '../../core/support/caught.js'
import { certificatesFor, serve, type Served } from './served.js'
import { createClientAuthority } from '../auth/client-certificates.js'
import { rawClient, startup } from '../raw-client.js'
import { sslRequestPacket } from '../../../wire/startup.js'
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
    const reasons: string[] = []
    const served = await serving({
      engine,
      onRefused: ({ reason }) => reasons.push(reason),
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
    expect(await rejectionOf(ask(served, { ssl: unknown }))).toMatchObject({
      message: expect.stringContaining('unrecognized name') as string,
    })
    expect(await rejectionOf(ask(served, { ssl: { ca: tls.ca, servername: '' } }))).toMatchObject({
      message: expect.stringContaining('unrecognized name') as string,
    })
    expect(names).toEqual(['db.example.com', 'other.example.com', 'unknown.example.com', undefined])
    expect(reasons).toEqual(['tls-failed', 'tls-failed'])
  })

  it.each([null, { key: 'x', cert: 'y' }, 'text', Promise.reject.bind(Promise)])(
    'refuses the handshake if the function returns %p instead of a certificate',
    async (found) => {
      const served = await serving({
        engine,
        loginTimeoutMs: 600_000,
        tls: (name) => {
          if (name === undefined) return tls
          return typeof found === 'function' ? (found() as never) : (found as never)
        },
      })
      const ssl = { ca: tls.ca, servername: 'db.example.com' }
      await rejectionOf(ask(served, { ssl }))
      expect(await served.connections[0]!.closed).toBeInstanceOf(Error)
    },
  )

  it('sends nothing into a TLS handshake', async () => {
    const served = await serving({
      engine,
      tls: () => {
        const [connection] = served.connections
        connection!.sendError({ message: 'told' })
        connection!.end({ message: 'ended' })
        return tls
      },
    })
    const client = await rawOf(served)
    client.send(sslRequestPacket())
    const chunks: Buffer[] = []
    client.socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    await once(client.socket, 'data')
    // A TLS record, which is enough for the function to be called.
    client.send(Buffer.from([0x16, 3, 1, 0, 1, 1]))
    await client.ended()
    expect(Buffer.concat(chunks).toString()).toBe('S')
    expect(await served.connections[0]!.closed).toMatchObject({ message: 'ended' })
  })

  it('keeps handshakes apart that come from one port of a client', async () => {
    const hosts = [await serving({ engine, tls }), await serving({ engine, tls })]
    const free = createServer().listen(0, '127.0.0.1')
    await once(free, 'listening')
    const { port: localPort } = free.address() as AddressInfo
    free.close()
    await once(free, 'close')
    const sockets: Socket[] = []
    for (const { port } of hosts) {
      const host = '127.0.0.1'
      const socket = connect({ port, host, localAddress: host, localPort })
      await once(socket, 'connect')
      sockets.push(socket)
      socket.write(sslRequestPacket())
      await once(socket, 'data')
    }
    const secured = await Promise.all(
      sockets.map(async (socket) => {
        const one = connectTls({ socket, ca: tls.ca, servername: 'localhost' })
        await once(one, 'secureConnect')
        return rawClient(one)
      }),
    )
    for (const [index, client] of secured.entries()) {
      client.send(startup({ user: 'app', database: 'postgres' }))
      await client.next('Z')
      expect(hosts.map(({ connections }) => connections[0]!.state.phase)[index]).toBe('session')
      client.socket.destroy()
      await hosts[index]!.connections[0]!.closed
    }
  })

  it('speaks TLS on a stream that is not a socket', async () => {
    const server = createServer((socket) => {
      const { remoteAddress, remotePort } = socket
      const stream = Duplex.from({ readable: socket, writable: socket })
      handleConnection(Object.assign(stream, { remoteAddress, remotePort }), { engine, tls })
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

    it('prepares a password as PostgreSQL does before it stores it', async () => {
      const { socketDirectory: host, port, superuser: user } = server.server()
      const client = new Client({ host, port, user, database: 'postgres' })
      await client.connect()
      const password = 'I\u2764\uFE0F\u00ADdb\u200B\u2168'
      await client.query(
        `SET password_encryption = 'scram-sha-256'; CREATE ROLE prepared PASSWORD '${password}'`,
      )
      const { rows } = await client.query<{ stored: string }>(
        "SELECT rolpassword AS stored FROM pg_authid WHERE rolname = 'prepared'",
      )
      await client.query('DROP ROLE prepared')
      await client.end()
      const served = await serving({ engine, auth: 'cleartext', password: () => rows[0]!.stored })
      for (const same of [password, 'I\u2764db IX'])
        expect(await ask(served, { password: same })).toEqual([{ one: 1 }])
    })

    it('does not accept the stored form of a password as a password', async () => {
      const stored =
        'SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$jVv3GYAoyRpbMXDBqNSSkD9yJYFk5bSGzCQNnCTRqbQ=:jVv3GYAoyRpbMXDBqNSSkD9yJYFk5bSGzCQNnCTRqbQ='
      for (const auth of ['cleartext', 'md5', 'scram-sha-256'] as const) {
        const served = await serving({ engine, auth, password: () => stored })
        expect(await rejectionOf(ask(served, { password: stored }))).toMatchObject({
          code: '28P01',
        })
        const text = stored.replace('4096', '0')
        const lax = await serving({ engine, auth, password: () => text })
        expect(await ask(lax, { password: text })).toEqual([{ one: 1 }])
      }
    })

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
      const isolation = await rejectionOf(pool.query('BEGIN ISOLATION LEVEL SERIALIZABLE'))
      expect(isolation).toMatchObject({ message: 'Unsupported isolation level: SERIALIZABLE' })
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
    const copying = await rawOf(served)
    copying.send(startup({ user: 'app' }))
    await copying.next('Z')
    const refused = [frontend('Q', text('COPY t FROM STDIN')), frontend('d'), frontend('c')]
    copying.send(...refused, frontend('Q', text('x')))
    for (const type of 'EZEZ') expect((await copying.next('E', 'Z')).type).toBe(type)
    copying.socket.destroy()
  })

  it('writes values so that drivers read them: dates, bytes, booleans and NULL', async () => {
    const at = new Date('2026-11-30T13:59:24.445Z')
    const fields = [
      { name: 'moment', type: Oid.timestamptz },
      { name: 'day', type: Oid.date },
      { name: 'bytes', type: Oid.bytea },
      { name: 'yes', type: Oid.bool },
      { name: 'none', type: Oid.text },
    ]
    const row = dataRow([at, at, Buffer.from('hi'), true, null], fields)
    expect(readDataRow(row).map((value) => value?.toString())).toEqual([
      '2026-11-30 13:59:24.445+00',
      '2026-11-30',
      String.raw`\x6869`,
      't',
      undefined,
    ])
    const reply = Buffer.concat([
      rowDescription(fields),
      row,
      commandComplete('SELECT 1'),
      readyForQuery('I'),
    ])
    const served = await serving({
      onMessage: (message) => (message[0] === 0x51 ? reply : undefined),
    })
    const [read] = await ask(served)
    expect(read).toMatchObject({ moment: at, bytes: Buffer.from('hi'), yes: true, none: null })
    expect(() => dataRow([undefined as never])).toThrow('must not be of type undefined')
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

    const P = (name: string, sql: string): Buffer =>
      frontend('P', text(name), text(sql), Buffer.alloc(2))
    const B = frontend('B', text(''), text(''), Buffer.alloc(6))
    const E = frontend('E', text(''), int32(0))
    const S = frontend('S')
    const Q = (sql: string): Buffer => frontend('Q', text(sql))
    const copy = Q('CREATE TEMP TABLE IF NOT EXISTS c (v int); COPY c FROM STDIN')
    const data = frontend('d', Buffer.from('1\n'))
    const pipelines: [what: string, messages: Buffer[], replies: string][] = [
      [
        'a reply after those of the engine',
        [P('', 'SELECT 1'), B, E, P('', 'hooked'), S],
        '12DC1Z',
      ],
      ['no reply after an error of the engine', [P('', 'SELEC'), B, P('', 'hooked'), S], 'EZ'],
      ['no error after an error of the engine', [P('', 'SELEC'), P('', 'boom'), S], 'EZ'],
      ['no reply to a Query after an error', [P('', 'SELEC'), Q('hooked'), S], 'EZ'],
      ['no error for a Query after an error', [P('', 'SELEC'), Q('boom'), S], 'EZ'],
      ['a Query that the engine ignores', [P('', 'SELEC'), Q('SELECT 1'), S], 'EZ'],
      ['two requests', [P('', 'SELEC'), S, P('', 'SELECT 1'), B, P('', 'hooked'), S], 'EZ121Z'],
      ['an error of a hook', [P('', 'SELECT 1'), B, P('', 'boom'), E, Q('hooked'), S], '12EZ'],
      ['a reply after a COPY', [copy, data, frontend('c'), Q('hooked')], 'CGCZCZ'],
      ['an error in CopyFail', [copy, data, frontend('f', text('boom'))], 'CGEZ'],
      [
        'a COPY with the early Sync of libpq',
        [
          P('', 'COPY (VALUES (1)) TO STDOUT'),
          B,
          E,
          S,
          P('', 'COPY c FROM STDIN'),
          B,
          E,
          S,
          data,
        ].concat(frontend('c'), S, Q('hooked')),
        '12HdcCZ12GCZCZ',
      ],
    ]
    it.each(pipelines)(
      'gives the replies of a server to %s, and then answers a query',
      async (_what, messages, replies) => {
        const served = await serving({
          engine,
          onMessage(message) {
            if (Buffer.from(message).includes('boom')) throw raised()
            if (!Buffer.from(message).includes('hooked')) return undefined
            if (message[0] === 0x50) return parseComplete()
            return Buffer.concat([commandComplete('HOOKED'), readyForQuery('I')])
          },
        })
        const client = await rawOf(served)
        client.send(
          startup({ user: 'app', database: 'postgres' }),
          Q('hooked'),
          Q('CREATE TEMP TABLE c (v int)'),
        )
        for (let ready = 0; ready < 3; ready++) await client.next('Z')
        client.send(...messages, Q('hooked'))
        let got = ''
        while (got.length < replies.length + 2)
          got += (await client.next(...'123CDEGHIZcd'.split(''))).type
        expect(got).toBe(`${replies}CZ`)
        served.connections[0]!.drain({ message: 'bye' })
        expect((await client.next('E')).body.toString()).toContain('bye')
      },
    )

    it.each([
      ['Z', 'SELECT 1', 'TDCEZ'],
      ['G', 'CREATE TEMP TABLE c (v int); COPY c FROM STDIN', 'CEZ'],
      ['D', 'SELECT 1', 'TEZ'],
      ['E', 'SELEC', 'EZ'],
    ])('fails the statement when onReply throws for %s', async (type, sql, replies) => {
      let isThrowing = false
      const served = await serving({
        engine,
        onReply(message) {
          if (isThrowing && message[0] === type.charCodeAt(0)) throw raised()
          return undefined
        },
      })
      const client = await rawOf(served)
      client.send(startup({ user: 'app', database: 'postgres' }))
      await client.next('Z')
      isThrowing = true
      client.send(Q(sql))
      let got = ''
      while (!got.endsWith('Z')) got += (await client.next(...'TDCEZG'.split(''))).type
      expect(got).toBe(replies)
      isThrowing = false
      client.send(Q('SELECT 2'))
      expect((await client.next('D', 'Z')).type).toBe('D')
      client.socket.destroy()
    })

    it.each(['onMessage', 'onReply'] as const)(
      'ends the session when %s returns part of a message',
      async (name) => {
        const served = await serving({
          engine,
          [name]: (message: Uint8Array) =>
            message[0] === (name === 'onMessage' ? 0x51 : 0x44)
              ? dataRow(['x']).subarray(1)
              : undefined,
        })
        const client = await rawOf(served)
        client.send(startup({ user: 'app', database: 'postgres' }), Q('SELECT 1'))
        await client.ended()
        expect(await served.connections[0]!.closed).toMatchObject({
          message: `"${name}" returned part of a message`,
        })
      },
    )

    it.each([
      ['bytes', () => new Uint8Array()],
      ['a promise', async () => new Uint8Array()],
      ['an error', () => Promise.reject(raised())],
    ])(
      'ends the session after a Terminate that onMessage answers with %s',
      async (_what, answer) => {
        const types: string[] = []
        const served = await serving({
          engine,
          onMessage(message) {
            types.push(String.fromCharCode(message[0]!))
            return answer()
          },
        })
        const client = await rawOf(served)
        client.send(startup({ user: 'app', database: 'postgres' }))
        await client.next('Z')
        client.send(frontend('X'))
        client.send(Buffer.from('more'))
        await client.ended()
        expect(await served.connections[0]!.closed).toBeUndefined()
        expect(types).toEqual(['X'])
      },
    )

    it('answers a client that has half-closed its connection, after a pending hook', async () => {
      const half = createServer({ allowHalfOpen: true }, (socket) => {
        handleConnection(socket, {
          engine,
          async onMessage() {
            if (!socket.readableEnded) await once(socket, 'end')
            return undefined
          },
        })
      }).listen(0, '127.0.0.1')
      await once(half, 'listening')
      const socket = connect({ port: (half.address() as AddressInfo).port, allowHalfOpen: true })
      const client = rawClient(socket)
      client.send(startup({ user: 'app', database: 'postgres' }))
      await client.next('Z')
      socket.end(Q('SELECT 1'))
      expect((await client.next('D', 'E')).type).toBe('D')
      await client.ended()
      socket.destroy()
      half.close()
    })

    it('calls onReply only as fast as the client reads', async () => {
      let calls = 0
      const rows = Buffer.concat(Array.from({ length: 1_000 }, () => dataRow([1])))
      const session = new PassThrough()
      session.push(Buffer.concat([readyForQuery('I'), rows]))
      const socket = new Duplex({ read() {}, write() {} })
      const served = handleConnection(socket, {
        engine: {
          name: 'rows',
          openSession: async () => Object.assign(session, { processId: 1, cancel() {} }),
          close: async () => {},
        },
        onReply() {
          calls++
          return dataRow(['x'.repeat(10_000)])
        },
      })
      socket.push(startup({ user: 'app' }))
      await once(session, 'pause')
      expect(calls).toBeLessThan(10)
      socket.destroy()
      await served.closed
    })

    const broken: [what: string, options: object, code: string][] = [
      ['auth returns null', { auth: () => null }, 'XX000'],
      ['auth returns no method', { auth: () => ({}) }, 'XX000'],
      ['auth returns a method that lacks its password', { auth: () => 'md5' }, 'XX000'],
      ['a method returns no verdict', { auth: { authenticate() {} } }, 'XX000'],
      [
        'a method throws',
        {
          auth: {
            authenticate() {
              throw raised()
            },
          },
        },
        '0LP01',
      ],
      [
        'openSession throws',
        {
          engine: {
            openSession() {
              throw raised()
            },
          },
        },
        '0LP01',
      ],
      ['openSession returns nothing', { engine: { openSession() {} } }, '58000'],
      [
        'onSession throws',
        {
          onSession() {
            throw raised()
          },
        },
        '0LP01',
      ],
      [
        'rewrite throws',
        {
          rewrite() {
            throw raised()
          },
        },
        '0LP01',
      ],
    ]
    it.each(broken)('refuses the client, and rejects nothing, if %s', async (_what, own, code) => {
      const unhandled = jest.fn()
      process.on('unhandledRejection', unhandled)
      const served = await serving({ engine, ...own })
      expect(await rejectionOf(ask(served))).toMatchObject({ code, severity: 'FATAL' })
      expect(await served.connections[0]!.closed).toMatchObject({ sqlState: code })
      await new Promise(setImmediate)
      process.off('unhandledRejection', unhandled)
      expect(unhandled).not.toHaveBeenCalled()
    })

    it('ends a connection in onSession, and reports the error', async () => {
      const served = await serving({
        engine,
        onSession: () => served.connections[0]!.end({ code: '57P01', message: 'not now' }),
      })
      expect(await rejectionOf(ask(served))).toMatchObject({ code: '57P01', message: 'not now' })
      expect(await served.connections[0]!.closed).toMatchObject({ message: 'not now' })
    })

    it('ends when the client leaves while a hook of the login does not settle', async () => {
      let asked: (() => void) | undefined
      const isAsked = new Promise<void>((resolve) => (asked = resolve))
      const served = await serving({
        loginTimeoutMs: 600_000,
        onStartup() {
          asked?.()
          return new Promise(() => {})
        },
      })
      const client = await rawOf(served)
      client.send(startup({ user: 'app' }))
      await isAsked
      client.socket.destroy()
      expect(await served.connections[0]!.closed).toMatchObject({
        message: 'the client has closed its connection',
      })
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

    it('in onMessage also gives back a Terminate', async () => {
      let stream: Promise<Duplex> | undefined
      const served = await serving({
        engine,
        onMessage(message) {
          if (message[0] === 0x51) stream = served.connections[0]!.detach()
          return undefined
        },
      })
      const client = await rawOf(served)
      client.send(startup({ user: 'app', database: 'postgres' }))
      await client.next('Z')
      client.send(frontend('Q', text('detach')), frontend('X'))
      await served.connections[0]!.closed
      expect((await stream!).read()).toEqual(frontend('X'))
    })

    it('gives a stream that sends at once, although the engine has not', async () => {
      const silent = new Duplex({
        read() {},
        write: (_chunk, _encoding, done) => done(),
        final(done) {
          silent.push(null)
          done()
        },
      })
      const served = await serving({
        engine: {
          name: 'silent',
          openSession: async () => Object.assign(silent, { processId: 1, cancel() {} }),
          close: async () => {},
        },
        async onMessage() {
          const stream = await served.connections[0]!.detach()
          stream.write(readyForQuery('I'))
          return undefined
        },
      })
      const client = await rawOf(served)
      client.send(startup({ user: 'app' }), frontend('Q', text('detach')))
      await client.next('Z')
      client.socket.destroy()
    })

    it('is refused while the client is asked for its password, and after it has left', async () => {
      const rejections: unknown[] = []
      const served = await serving({
        engine,
        auth: 'cleartext',
        async validateCredentials() {
          rejections.push(await rejectionOf(served.connections[0]!.detach()))
          return true
        },
      })
      const client = await rawOf(served)
      client.send(startup({ user: 'app', database: 'postgres' }))
      await client.next('R')
      rejections.push(await rejectionOf(served.connections[0]!.detach()))
      client.send(frontend('p', text('x')))
      await client.next('Z')
      const half = createServer({ allowHalfOpen: true }, (socket) => {
        const connection = handleConnection(socket, {
          engine,
          async onMessage() {
            if (!socket.readableEnded) await once(socket, 'end')
            rejections.push(await rejectionOf(connection.detach()))
            return undefined
          },
        })
      }).listen(0, '127.0.0.1')
      await once(half, 'listening')
      const leaving = await rawOf({ port: (half.address() as AddressInfo).port } as Served)
      leaving.send(startup({ user: 'app', database: 'postgres' }))
      await leaving.next('Z')
      leaving.socket.end(Buffer.concat([frontend('Q', text('one')), frontend('H')]))
      await leaving.ended()
      half.close()
      expect(rejections).toEqual(
        Array(4).fill(expect.objectContaining({ code: 'ERR_OPTION_CONFLICT' })),
      )
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

  it('writes the startup packet again, for another server', async () => {
    const target = await serving({ engine })
    const served = await serving({
      async onStartup({ startup: own }) {
        const client = await served.connections.at(-1)!.detach()
        const upstream = connect(target.port, '127.0.0.1')
        upstream.write(startupPacket(own!))
        client
          .on('error', () => {})
          .pipe(upstream)
          .pipe(client)
      },
    })
    const sql = "SELECT current_user AS role, current_setting('application_name') AS name"
    const rows = await ask(served, { application_name: 'again' }, sql)
    expect(rows).toEqual([{ role: 'app', name: 'again' }])
  })

  it('sends messages of the caller between those of the engine', async () => {
    const served = await serving({ engine })
    const client = clientOf(served)
    await client.connect()
    const heard = once(client, 'notification')
    served.connections[0]!.send(notificationResponse(7, 'news', 'hello'))
    expect((await heard)[0]).toMatchObject({ channel: 'news', payload: 'hello', processId: 7 })
    expect(() => served.connections[0]!.send(Buffer.from('N'))).toThrow('"messages" must be whole')
    await client.end()
  })

  it.each([true, null, 'x'])('refuses the statement if onMessage returns %p', async (given) => {
    const served = await serving({
      engine,
      onMessage: (message) => (message[0] === 0x51 ? (given as never) : undefined),
    })
    expect(await rejectionOf(ask(served))).toMatchObject({
      code: 'XX000',
      message: expect.stringContaining('"onMessage" must return') as string,
    })
  })

  it('keeps the text of errors without an SQLSTATE from clients that have not logged in', async () => {
    const fails = (): never => {
      throw new Error('vault at 10.0.0.9 is down')
    }
    const all: HandleConnectionOptions[] = [
      { auth: fails },
      { auth: 'md5', password: fails },
      { engine: fails },
      { role: fails },
    ]
    for (const own of all) {
      const reasons: string[] = []
      const served = await serving({
        engine,
        onRefused: ({ explanation }) => reasons.push(explanation),
        ...own,
      })
      expect(await rejectionOf(ask(served))).toMatchObject({ message: 'internal error' })
      expect(reasons).toEqual(['a hook failed: vault at 10.0.0.9 is down'])
    }
  })

  it('logs what a hook throws after detach(), and destroys the stream', async () => {
    const errors: unknown[] = []
    const logger = {
      debug() {},
      info() {},
      warn() {},
      error: (message: string) => errors.push(message),
    }
    const served = await serving({
      logger,
      async onStartup() {
        await served.connections.at(-1)!.detach()
        throw new Error('too late')
      },
    })
    expect(await rejectionOf(ask(served))).toMatchObject({
      message: 'Connection terminated unexpectedly',
    })
    expect(errors).toEqual(['gateway: a hook failed after detach()'])
  })

  it('resolves "closed" with the error with which the engine ended the session', async () => {
    const served = await serving({ engine })
    const [killed, killer] = [clientOf(served), clientOf(served)]
    await Promise.all([killed.connect(), killer.connect()])
    const { rows } = await killed.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    await killer.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid])
    await killer.end()
    const ends = await Promise.all(served.connections.map(({ closed }) => closed))
    expect(ends).toContainEqual(expect.objectContaining({ sqlState: '57P01' }))
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
    const delivered: unknown[] = []
    const served = await serving({
      engine: own,
      onCancel: () => delivered.push('asked'),
      onCancelRequest: ({ isDelivered }) => delivered.push(isDelivered),
    })
    const client = await rawOf(served)
    client.send(startup({ user: 'app', database: 'postgres' }))
    const { body } = await client.next('K')
    const request = await rawOf(served)
    request.send(Buffer.concat([int32(16), int32(80_877_102), body]))
    await once(request.socket, 'close')
    expect([cancelled, delivered]).toEqual([['cancelled'], ['asked', true]])
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
    [
      'a password that is not asked for',
      { password: () => 'x' },
      /"password" must not be given without "auth"/,
    ],
    ['an engine that is not awaited', { engine: Promise.resolve() }, /and not a promise/],
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
