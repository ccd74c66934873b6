import { once } from 'node:events'
import * as fc from 'fast-check'
import {
  createFirstPacketReader,
  createStreamFactory,
  isPastLifetime,
  jitteredLifetimeSecs,
  loginOfFactory,
  LoginStream,
  lossOf,
  markWithLogin,
} from '../../../core/connection/login-stream.js'
import { auroraDsql, cloudSql, customLogin, entra, rds, redshift } from '../../../core/index.js'
import {
  AUTHENTICATION_OK,
  errorResponse,
  GREETING,
  message,
  textRow,
} from '../support/backend-messages.js'
import { createByteReader } from '../support/byte-reader.js'
import { type CollectedEvents, collectEvents } from '../support/collect-events.js'
import { CREDENTIALS, HOST, OPTIONS } from '../support/dsql-options.js'
import {
  acceptLogin,
  acceptTls,
  type LoginTranscript,
  receiveLogin,
  type StandIn,
  startStandIn,
} from '../support/postgres-stand-in.js'
import { presigned } from '../support/presigned.js'
import { parametersOf, startRawClient, startup } from '../support/raw-client.js'

const WELCOME = AUTHENTICATION_OK.length + GREETING.length

let standIn: StandIn | undefined
let collected: CollectedEvents
beforeEach(() => {
  collected = collectEvents()
})
afterEach(async () => {
  collected.stop()
  await standIn?.close()
  standIn = undefined
})

describe('a stream of a login', () => {
  it("logs in with a token, as the user and to the database of the login, and keeps the driver's other parameters", async () => {
    let transcript: LoginTranscript | undefined
    standIn = await startStandIn(async (socket, keys) => {
      transcript = await acceptLogin(socket, keys)
    })
    const client = startRawClient(
      standIn.login(),
      startup({ user: 'someone', database: 'other', application_name: 'é', options: '-c a=b' }),
    )
    expect(await client.receive(WELCOME)).toEqual(Buffer.concat([AUTHENTICATION_OK, GREETING]))
    expect(parametersOf(transcript?.startup ?? Buffer.alloc(0))).toEqual({
      user: 'app',
      database: 'shop',
      application_name: 'é',
      options: '-c a=b',
    })
    expect(presigned(transcript?.password ?? '')).toMatchObject({
      host: HOST,
      accessKeyId: CREDENTIALS.accessKeyId,
    })
    client.stream.destroy()
    await standIn.idle()
  })

  it('does nothing before the driver has written its whole first packet', async () => {
    standIn = await startStandIn(async (socket, keys) => void (await acceptLogin(socket, keys)))
    const login = standIn.login()
    const stream = new LoginStream(login)
    stream.connect()
    await once(stream, 'connect')
    expect(stream.readyState).toBe('opening')
    const packet = startup()
    for (const byte of packet.subarray(0, -1)) stream.write(Buffer.from([byte]))
    await new Promise((resolve) => stream.write('', resolve))
    expect([login.stats().tokensMade, standIn.accepted()]).toEqual([0, 0])
    stream.write(packet.subarray(-1))
    await once(stream, 'readable')
    expect(login.stats()).toMatchObject({ tokensMade: 1, connectionsOpened: 1, connectionsOpen: 1 })
    expect(stream.readyState).toBe('open')
    stream.destroy()
    await once(stream, 'close')
    expect(stream.readyState).toBe('closed')
  })

  it("reads a server's messages byte by byte, and forwards data byte by byte", async () => {
    const query = Buffer.from('Q\0\0\0\x0dselect 1\0')
    let asked: Buffer = Buffer.alloc(0)
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured, password } = await receiveLogin(socket, keys)
      expect(password).toContain('X-Amz-Signature')
      for (const byte of Buffer.concat([AUTHENTICATION_OK, GREETING])) {
        await new Promise((resolve) => secured.write(Buffer.from([byte]), resolve))
      }
      asked = await createByteReader(secured).read(query.length)
      for (const byte of textRow('one'))
        await new Promise((resolve) => secured.write(Buffer.from([byte]), resolve))
    })
    const client = startRawClient(standIn.login())
    await client.receive(WELCOME)
    for (const byte of query) client.stream.write(Buffer.from([byte]))
    const answer = await client.receive(WELCOME + textRow('one').length)
    expect(answer.subarray(WELCOME)).toEqual(textRow('one'))
    expect(asked).toEqual(query)
    client.stream.destroy()
  })

  it('forwards messages that follow the login directly, once they are complete', async () => {
    const notice = message('N', 'SNOTICE\0Mhello\0\0')
    const all = Buffer.concat([AUTHENTICATION_OK, GREETING, notice, notice])
    let sendRest = (): void => {}
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      secured.write(all.subarray(0, -1))
      sendRest = () => void secured.write(all.subarray(-1))
    })
    const client = startRawClient(standIn.login())
    const first = all.length - notice.length
    expect(await client.receive(first)).toEqual(all.subarray(0, first))
    sendRest()
    expect(await client.receive(all.length)).toEqual(all)
    client.stream.destroy()
  })

  it('accepts a server that requests no password', async () => {
    let extra: Promise<Buffer> | undefined
    standIn = await startStandIn(async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      const reader = createByteReader(secured)
      await reader.packet()
      secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
      extra = reader.read(1)
    })
    const client = startRawClient(standIn.login())
    expect(await client.receive(WELCOME)).toEqual(Buffer.concat([AUTHENTICATION_OK, GREETING]))
    client.stream.destroy()
    // No bytes were sent, so the token was not exposed.
    await expect(extra).rejects.toThrow('the client left after 0 of 1 bytes')
  })

  it('forwards the error of a server that rejects the login, and then closes', async () => {
    const refusal = errorResponse('28000', 'access denied')
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      secured.end(refusal)
    })
    const login = standIn.login()
    const client = startRawClient(login)
    expect(await client.closed).toBeUndefined()
    expect(client.received()).toEqual(refusal)
    expect(login.stats()).toMatchObject({ tokensMade: 1, connectionsOpened: 0, connectionsOpen: 0 })
    expect(collected.names()).toEqual(['token.made'])
    await standIn.idle()
  })

  it('counts and reports a connection from the login to its end', async () => {
    standIn = await startStandIn(async (socket, keys) => void (await acceptLogin(socket, keys)))
    const login = standIn.login()
    const clients = [startRawClient(login), startRawClient(login)]
    await Promise.all(clients.map((client) => client.receive(WELCOME)))
    expect(login.stats()).toMatchObject({ connectionsOpened: 2, connectionsOpen: 2 })
    clients[0]?.stream.end()
    await clients[0]?.closed
    expect(login.stats()).toMatchObject({ connectionsOpened: 2, connectionsOpen: 1 })
    clients[1]?.stream.destroy(new Error('broken'))
    await clients[1]?.closed
    expect(login.stats()).toMatchObject({ connectionsOpened: 2, connectionsOpen: 0 })
    const identity = { provider: 'aurora-dsql', host: HOST, user: 'app' }
    const opened = collected.events.filter(({ name }) => name === 'pg-iam:connection.opened')
    const retired = collected.events.filter(({ name }) => name === 'pg-iam:connection.retired')
    const ids = opened.map(({ event }) => event['connectionId'])
    expect(new Set(ids).size).toBe(2)
    expect(opened.map(({ event }) => event)).toEqual(
      ids.map((connectionId) => ({ ...identity, connectionId, elapsedMs: expect.any(Number) })),
    )
    expect(retired.map(({ event }) => event)).toEqual([
      { ...identity, connectionId: ids[0], ageMs: expect.any(Number) },
      { ...identity, connectionId: ids[1], ageMs: expect.any(Number), error: new Error('broken') },
    ])
    await standIn.idle()
  })

  it('ends when the server ends, after all data was read', async () => {
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      secured.end(errorResponse('57P01', 'terminating connection'))
    })
    const login = standIn.login()
    const client = startRawClient(login)
    expect(await client.closed).toBeUndefined()
    expect(client.received().subarray(WELCOME)).toEqual(
      errorResponse('57P01', 'terminating connection'),
    )
    expect(login.stats().connectionsOpen).toBe(0)
  })

  it('ends with the error of a broken connection', async () => {
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      await createByteReader(secured).read(1)
      socket.resetAndDestroy()
    })
    const login = standIn.login()
    const client = startRawClient(login)
    await client.receive(WELCOME)
    client.stream.write('Q')
    expect(await client.closed).toMatchObject({
      code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/),
    })
    const { error } = await collected.next('pg-iam:connection.retired')
    expect(error).toMatchObject({ code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/) })
    expect(login.stats().connectionsOpen).toBe(0)
  })

  it('closes if it is ended before anything was written', async () => {
    standIn = await startStandIn(async () => {})
    const stream = new LoginStream(standIn.login())
    stream.connect()
    stream.resume()
    stream.end()
    await once(stream, 'close')
    expect(standIn.accepted()).toBe(0)
  })

  it('emits an error if a driver connects after it was destroyed', async () => {
    standIn = await startStandIn(async () => {})
    const stream = new LoginStream(standIn.login())
    stream.destroy()
    await once(stream, 'close')
    const seen: unknown[] = []
    stream.on('error', (error) => seen.push(error))
    const closed = new Promise((resolve) => stream.on('close', resolve))
    stream.connect()
    await closed
    expect(seen).toEqual([expect.objectContaining({ code: 'ECONNABORTED' })])
    expect(standIn.accepted()).toBe(0)
  })

  it("has the host and port of its login, for drivers' errors", async () => {
    standIn = await startStandIn(async () => {})
    const login = standIn.login()
    const stream = new LoginStream(login)
    expect([stream.host, stream.port]).toEqual([login.host, login.port])
    stream.destroy()
  })
})

const PACKET = startup({ user: 'app', database: 'shop' })
const leftover = fc
  .tuple(fc.constantFrom('Q', 'P', 'B', 'X'), fc.uint8Array({ maxLength: 30 }))
  .map(([type, body]) => message(type, Buffer.from(body)))

describe('createFirstPacketReader', () => {
  it('returns the packet once it is complete, however it is split, and drops messages before it', () => {
    fc.assert(
      fc.property(fc.array(leftover), fc.array(fc.nat()), (messages, cuts) => {
        const bytes = Buffer.concat([...messages, PACKET])
        const places = [...cuts.map((cut) => cut % bytes.length), bytes.length].toSorted(
          (a, b) => a - b,
        )
        const finder = createFirstPacketReader()
        let from = 0
        for (const [index, to] of places.entries()) {
          const found = finder.push(bytes.subarray(from, to))
          from = to
          if (index < places.length - 1 && to < bytes.length) expect(found).toBeUndefined()
          if (to === bytes.length) {
            expect(found?.equals(PACKET)).toBe(true)
            return
          }
        }
      }),
    )
  })

  it('waits for more than a header', () => {
    const finder = createFirstPacketReader()
    expect(finder.push(PACKET.subarray(0, 7))).toBeUndefined()
    expect(finder.push(PACKET.subarray(7))?.equals(PACKET)).toBe(true)
  })
})

describe('jitteredLifetimeSecs', () => {
  it('returns between four fifths of the lifetime and the whole lifetime', () => {
    const login = auroraDsql({ ...OPTIONS, maxLifetimeSecs: 1_000 })
    expect([0, 0.5, 1].map((chance) => jitteredLifetimeSecs(login, () => chance))).toEqual([
      1_000, 900, 800,
    ])
    expect(
      new Set(Array.from({ length: 20 }, () => jitteredLifetimeSecs(login))).size,
    ).toBeGreaterThan(10)
  })

  it('returns Infinity if the provider has no limit', () => {
    const host = 'db.example.com'
    const user = 'app'
    const getToken = (): Promise<string> => Promise.resolve('token')
    const logins = [
      rds({ host: 'db.c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com', user }),
      redshift({ host: 'shop.c1a2b3c4d5e6.eu-west-1.redshift.amazonaws.com' }),
      entra({ host: 'shop.postgres.database.azure.com', user }),
      cloudSql({ host: '10.0.0.5', instance: 'shop:europe-west1:db', user }),
      customLogin({ host, user, getToken }),
    ]
    for (const login of logins) {
      expect(login).not.toHaveProperty('maxLifetimeSecs')
      expect(jitteredLifetimeSecs(login)).toBe(Infinity)
    }
    expect(customLogin({ host, user, getToken, maxLifetimeSecs: 60 }).maxLifetimeSecs).toBe(60)
  })
})

describe('createStreamFactory', () => {
  const login = auroraDsql(OPTIONS)

  it('creates a stream per connection, and is associated with its login', () => {
    const factory = createStreamFactory(login)
    const [one, other] = [factory(), factory()]
    expect(one).toBeInstanceOf(LoginStream)
    expect(one).not.toBe(other)
    expect(loginOfFactory(factory)).toBe(login)
    expect(Object.keys(factory)).toEqual([])
  })

  it('is not associated with any other value by loginOfFactory', () => {
    for (const value of [undefined, null, {}, () => {}, 'x'])
      expect(loginOfFactory(value)).toBeUndefined()
    const mark = markWithLogin(() => 1, login)
    expect([mark(), loginOfFactory(mark)]).toEqual([1, login])
  })

  it('reports for clients of any kind whether their stream is past its maximum age, and why it was lost', async () => {
    const stream = createStreamFactory(login)()
    expect([
      isPastLifetime({ connection: { stream } }),
      lossOf({ connection: { stream } }),
    ]).toEqual([false, undefined])
    for (const client of [
      undefined,
      null,
      {},
      { connection: {} },
      { connection: { stream: {} } },
    ]) {
      expect([isPastLifetime(client), lossOf(client)]).toEqual([false, undefined])
    }
    stream.destroy()
    await once(stream, 'close')
  })
})
