import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { LoginStream } from '../../../core/connection/login-stream.js'
import { GREETING, message, READY, textRow } from '../support/backend-messages.js'
import { createByteReader } from '../support/byte-reader.js'
import { collectEvents } from '../support/collect-events.js'
import { acceptLogin, acceptTls, type StandIn, startStandIn } from '../support/postgres-stand-in.js'
import { startRawClient, startup } from '../support/raw-client.js'

const MEGABYTE = 1 << 20
const WELCOME = GREETING.length + 9
const QUERY = message('Q', 'select\0')

/** Waits for the given number of event-loop turns. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

let standIn: StandIn | undefined
afterEach(async () => {
  await standIn?.close()
  standIn = undefined
})

describe('a stream of a login', () => {
  it('transfers ten megabytes in both directions at once, unchanged', async () => {
    const up = message('Q', randomBytes(10 * MEGABYTE))
    const down = textRow(randomBytes(5 * MEGABYTE).toString('hex'))
    let arrived: Promise<Buffer> | undefined
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      const reader = createByteReader(secured)
      await reader.message()
      secured.write(down)
      arrived = reader.read(up.length)
      await arrived
    })
    const client = startRawClient(standIn.login())
    await client.receive(WELCOME)
    client.stream.write(QUERY)
    client.stream.write(up)
    const received = await client.receive(WELCOME + down.length)
    expect(received.subarray(WELCOME).equals(down)).toBe(true)
    expect((await arrived)?.equals(up)).toBe(true)
    client.stream.destroy()
  })

  it('applies backpressure to a driver that writes faster than the server reads', async () => {
    let receiveAll = (): Promise<Buffer> => Promise.reject(new Error('not yet'))
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      receiveAll = () => createByteReader(secured).read(64 * MEGABYTE)
    })
    const { stream, receive } = startRawClient(standIn.login())
    await receive(WELCOME)
    let isTaken = false
    // More than the buffers of any operating system hold.
    const goesOn = stream.write(Buffer.alloc(64 * MEGABYTE), () => (isTaken = true))
    expect(goesOn).toBe(false)
    const drained = once(stream, 'drain')
    await turns(20)
    expect(isTaken).toBe(false)
    await receiveAll()
    await drained
    stream.destroy()
  })

  it('applies backpressure to a server that sends faster than the driver reads', async () => {
    const row = textRow('x'.repeat(64 * MEGABYTE))
    let isTaken = false
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      await createByteReader(secured).message()
      secured.write(row, () => (isTaken = true))
    })
    const stream = new LoginStream(standIn.login())
    stream.write(startup())
    stream.write(QUERY)
    // The buffer fills up, and then nothing more is read from the socket.
    while (stream.readableLength < stream.readableHighWaterMark) await turns(1)
    await turns(20)
    expect(isTaken).toBe(false)
    expect(stream.readableLength).toBeLessThan(MEGABYTE)
    let size = 0
    const all = new Promise<void>((resolve) => {
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size === WELCOME + row.length) resolve()
      })
    })
    await all
    stream.destroy()
    await standIn.idle()
  })

  it('delivers the remaining data to a driver that reads late, after the server has closed', async () => {
    const sent = textRow('x'.repeat(MEGABYTE))
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      await createByteReader(secured).message()
      secured.end(sent)
    })
    const collected = collectEvents()
    const login = standIn.login()
    const stream = new LoginStream(login)
    stream.write(startup())
    stream.write(QUERY)
    await once(stream, 'readable')
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      stream.pause()
      setImmediate(() => stream.resume())
    })
    await once(stream, 'close')
    expect(Buffer.concat(chunks).subarray(WELCOME).equals(sent)).toBe(true)
    expect(login.stats().connectionsOpen).toBe(0)
    expect(await collected.next('pg-iam:connection.retired')).toMatchObject({
      connectionId: expect.any(Number),
    })
    collected.stop()
  })

  it('counts a connection as closed once the server has closed it, even if the driver no longer reads', async () => {
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      secured.end(message('N', `SNOTICE\0M${'x'.repeat(1_000)}\0\0`))
    })
    const collected = collectEvents()
    const login = standIn.login()
    const stream = new LoginStream(login)
    stream.write(startup())
    await collected.next('pg-iam:connection.retired')
    expect(login.stats()).toMatchObject({ connectionsOpened: 1, connectionsOpen: 0 })
    expect(stream.destroyed).toBe(false)
    stream.destroy()
    await once(stream, 'close')
    expect(login.stats().connectionsOpen).toBe(0)
    expect(collected.names()).toEqual(['token.made', 'connection.opened', 'connection.retired'])
    collected.stop()
  })

  it('writes corked data together', async () => {
    const writes: Buffer[] = []
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      secured.on('data', (chunk: Buffer) => {
        writes.push(chunk)
        secured.write(READY)
      })
      secured.resume()
    })
    const client = startRawClient(standIn.login())
    await client.receive(WELCOME)
    client.stream.cork()
    const parts = ['P', 'B', 'E', 'S'].map((type) => message(type))
    for (const part of parts) client.stream.write(part)
    client.stream.uncork()
    await client.receive(WELCOME + READY.length)
    expect(writes[0]).toEqual(Buffer.concat(parts))
    client.stream.destroy()
  })

  it('does not queue data between a driver and its socket', async () => {
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      secured.on('data', () => void secured.write(READY)).resume()
    })
    const { stream, receive } = startRawClient(standIn.login())
    await receive(WELCOME)
    const queues = [jest.spyOn(stream, '_write'), jest.spyOn(stream, 'push')]
    for (let asked = 1; asked <= 3; asked++) {
      stream.write(QUERY)
      await receive(WELCOME + asked * READY.length)
    }
    for (const queue of queues) expect(queue).not.toHaveBeenCalled()
    stream.destroy()
  })

  it('applies socket settings made before and after the socket exists', async () => {
    let server: Socket | undefined
    standIn = await startStandIn(async (socket, keys) => {
      server = socket
      await acceptLogin(socket, keys)
    })
    const client = startRawClient(standIn.login())
    const { stream } = client
    expect(stream.setNoDelay(true).setKeepAlive(true, 1_000).unref().ref()).toBe(stream)
    await client.receive(WELCOME)
    expect(stream.setNoDelay().setKeepAlive(false).ref()).toBe(stream)
    expect(server?.destroyed).toBe(false)
    stream.destroy()
  })
})

/** TLS after an SSLRequest. */
const WITH_REQUEST = { tls: { negotiation: 'postgres' } } as const

describe('a cancel request', () => {
  it('uses verified TLS, without a token, and ends when the server has closed', async () => {
    const request = Buffer.from([
      0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0x12, 0x67, 0, 0, 4, 0xd2,
    ])
    let seen = Buffer.alloc(0)
    standIn = await startStandIn(async (socket, keys) => {
      const secured = await acceptTls(socket, keys)
      seen = Buffer.from(await createByteReader(secured).packet())
      secured.end()
    })
    const login = standIn.login()
    const collected = collectEvents()
    const client = startRawClient(login, request)
    expect(await client.closed).toBeUndefined()
    expect(seen).toEqual(request)
    expect(login.stats()).toMatchObject({ tokensMade: 0, connectionsOpened: 0 })
    expect(collected.names()).toEqual([])
    collected.stop()
    await standIn.idle()
  })

  it('that fails ends with the error, and closes its socket', async () => {
    standIn = await startStandIn(async (socket) => {
      await createByteReader(socket).packet()
      socket.end('N')
    })
    const request = Buffer.from([0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2])
    expect(await startRawClient(standIn.login(WITH_REQUEST), request).closed).toMatchObject({
      code: 'ERR_TLS_UNVERIFIED',
    })
    await standIn.idle()
  })
})

describe('a driver with an invalid first packet', () => {
  it.each([
    [
      'asks for TLS itself',
      Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]),
      'the client is configured to start TLS on a connection that already uses TLS',
    ],
    [
      'sends half a parameter',
      startup().subarray(0, -1),
      'the driver did not send a PostgreSQL startup packet',
    ],
    [
      'sends more than its packet',
      Buffer.concat([startup(), Buffer.from('Q')]),
      'the driver did not send a PostgreSQL startup packet',
    ],
  ])('that %s gets an error before anything is dialled', async (_label, packet, text) => {
    standIn = await startStandIn(async () => {})
    const login = standIn.login()
    const bytes = Buffer.from(packet)
    bytes.writeInt32BE(Math.min(bytes.readInt32BE(0), bytes.length), 0)
    expect(await startRawClient(login, bytes).closed).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: text,
    })
    expect([login.stats().tokensMade, standIn.accepted()]).toEqual([0, 0])
  })
})
