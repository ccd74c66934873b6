import { PassThrough } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { Client, type ClientConfig } from 'pg'
import {
  activityOf,
  handOver,
  type HandedOver,
  type StreamHolder,
} from '../../../core/connection/hand-over.js'
import { LoginStream } from '../../../core/connection/login-stream.js'
import { Reception } from '../../../core/connection/reception.js'
import { createStreamFactory, lossOf } from '../../../core/connection/stream-factory.js'
import { READY, errorResponse, message, textRow } from '../support/backend-messages.js'
import { createByteReader } from '../support/byte-reader.js'
import { rejectionOf } from '../support/caught.js'
import { acceptLogin, startStandIn, type StandIn } from '../support/postgres-stand-in.js'

const GOODBYE = errorResponse('57P01', 'terminating connection due to administrator command')

let standIn: StandIn
beforeEach(async () => {
  standIn = await startStandIn(async (socket, keys) => {
    const { socket: secured } = await acceptLogin(socket, keys)
    const reader = createByteReader(secured)
    for (;;) {
      const request = (await reader.message()).toString('utf8', 5)
      if (request.startsWith('words')) return void secured.end(GOODBYE)
      if (request.startsWith('linger')) {
        secured.write(GOODBYE)
        continue
      }
      if (request.startsWith('silence') || request === '') return void secured.end()
      secured.write(textRow('answer'))
    }
  })
})
afterEach(() => standIn.close())

interface Connection {
  readonly client: Client
  stream(): unknown
}

/** Not by `once`, which fails of errors before the end. */
function endOf(client: Client): Promise<void> {
  return new Promise((resolve) => client.once('end', resolve))
}

/** A client that has had one answer. */
async function answered(
  options: Parameters<typeof createStreamFactory>[1] = {},
): Promise<Connection> {
  const stream = createStreamFactory(standIn.login(), options) as unknown as NonNullable<
    ClientConfig['stream']
  >
  const client = new Client({ stream, user: 'someone' })
  client.on('error', () => {})
  await client.connect()
  await client.query('one')
  const { connection } = client as unknown as { connection: { stream: unknown } }
  return { client, stream: () => connection.stream }
}

describe('pg, once it is logged in', () => {
  it('has the TLS socket itself, and queries and leaves by that', async () => {
    const { client, stream } = await answered()
    expect(stream()).toBeInstanceOf(TLSSocket)
    expect((await client.query<{ a: string }>('two')).rows).toEqual([{ a: 'answer' }])
    await client.end()
    await standIn.idle()
    expect(lossOf(client)).toBeUndefined()
  })

  it('keeps the stream as long as its first requests must be looked at', async () => {
    const { client, stream } = await answered({ isUnattended: () => false })
    expect(stream()).toBeInstanceOf(LoginStream)
    await client.query('two')
    await client.query('three')
    expect(stream()).toBeInstanceOf(TLSSocket)
    await client.end()
  })

  it.each([
    ['words', '57P01'],
    ['linger', '57P01'],
    ['silence', 'ECONNRESET'],
  ])('hears of a server that ends the connection: %s', async (request, code) => {
    const { client } = await answered()
    const ended = endOf(client)
    const error = await rejectionOf(client.query(request))
    await ended
    expect(lossOf(client)).toMatchObject({ code })
    expect(error).toBeInstanceOf(Error)
    await standIn.idle()
  })

  it('has no loss where it closed the socket itself', async () => {
    const { client, stream } = await answered()
    const ended = endOf(client)
    ;(stream() as TLSSocket).destroy()
    await ended
    expect(lossOf(client)).toBeUndefined()
    await standIn.idle()
  })

  it('is counted as closed when it has left', async () => {
    const login = standIn.login()
    const stream = createStreamFactory(login) as unknown as NonNullable<ClientConfig['stream']>
    const client = new Client({ stream, user: 'someone' })
    await client.connect()
    await client.query('one')
    expect(login.stats().connectionsOpen).toBe(1)
    await client.end()
    await standIn.idle()
    expect(login.stats().connectionsOpen).toBe(0)
  })
})

describe('handOver', () => {
  function handed(change: (holder: StreamHolder, stream: PassThrough) => void = () => {}): {
    holder: StreamHolder
    socket: PassThrough & { bytesWritten: number }
    over: HandedOver | undefined
    reception: Reception
    read: Buffer[]
  } {
    const stream = new PassThrough()
    const socket = Object.assign(new PassThrough(), { bytesWritten: 100 })
    const holder: StreamHolder = { stream }
    const read: Buffer[] = []
    stream.on('data', (chunk: Buffer) => void read.push(chunk))
    const reception = new Reception({ hidesLastWords: false, isUnattended: undefined })
    const deliver = (chunk: Buffer): void => void stream.push(chunk)
    socket.on('data', deliver)
    change(holder, stream)
    const over = handOver({
      holder,
      stream,
      socket: socket as unknown as TLSSocket,
      deliver,
      reception,
      counts: true,
      heardLast() {},
    })
    return { holder, socket, over, reception, read }
  }

  it('knows a request that nobody told it of, until that is answered and no transaction is open', () => {
    const { socket, over, reception, read } = handed()
    const activity = activityOf(reception, () => over)
    expect(activity.isIdle).toBe(true)
    socket.bytesWritten += 20
    expect(activity.isIdle).toBe(false)
    for (const reply of [message('C', 'BEGIN'), message('Z', 'T')]) {
      socket.emit('data', reply)
      expect(activity.isIdle).toBe(false)
    }
    const { traffic } = activity
    socket.bytesWritten += 20
    socket.emit('data', READY)
    expect(activity.isIdle).toBe(true)
    expect(activity.traffic).toBeGreaterThan(traffic)
    expect(read).toHaveLength(3)
  })

  it.each<[string, (holder: StreamHolder, stream: PassThrough) => void]>([
    ['somebody else reads, too', (_, stream) => void stream.on('data', () => {})],
    [
      'who reads does so once',
      (_, stream) => void stream.removeAllListeners('data').once('data', () => {}),
    ],
    ['the holder has another stream by now', (holder) => void (holder.stream = new PassThrough())],
  ])('does nothing where %s', (_label, change) => {
    let given: unknown
    const { holder, over } = handed((of, stream) => {
      change(of, stream)
      given = of.stream
    })
    expect(over).toBeUndefined()
    expect(holder.stream).toBe(given)
  })
})
