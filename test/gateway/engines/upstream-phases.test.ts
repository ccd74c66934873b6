/** An upstream server whose connection is lost after any byte that it sends: in each phase of its login, in replies, and in a COPY. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { customLogin } from '../../../core/index.js'
import {
  commandComplete,
  copyData,
  copyDone,
  copyInResponse,
  copyOutResponse,
  createLimits,
  dataRow,
  type Engine,
  type HandleConnectionOptions,
  Oid,
  parameterStatus,
  readyForQuery,
  rowDescription,
  type ServerConnection,
  upstreamEngine,
} from '../../../gateway/index.js'
import {
  authenticationCleartextPassword,
  authenticationOk,
  backendKeyData,
} from '../../../wire/messages.js'
import { endOf, eventually } from '../../support/eventually.js'
import { frontend, int32 } from '../../wire/frontend-messages.js'
import { certificatesFor, serve } from '../connection/served.js'
import { piped } from '../connection/memory-engine.js'
import { errorFields, query, rawClient, startup } from '../raw-client.js'

const GREETING: readonly Buffer[] = [
  authenticationOk(),
  parameterStatus('server_version', '17.0'),
  backendKeyData(42, 4_711),
  readyForQuery('I'),
]
const LOGIN: readonly Buffer[] = [authenticationCleartextPassword(), ...GREETING]
const ROWS = [rowDescription([{ name: 'v', type: Oid.text }]), dataRow(['one']), dataRow(['two'])]
const DONE = [commandComplete('DONE'), readyForQuery('I')]
/** Statements, the replies to them, and those to a CopyDone. */
const REPLIES: Readonly<Record<string, readonly Buffer[]>> = {
  rows: [...ROWS, ...DONE],
  'COPY out': [copyOutResponse(1), copyData(Buffer.from('1\n')), copyDone(), ...DONE],
  'COPY in': [copyInResponse(1)],
  CopyDone: DONE,
}

/** How a connection is lost. */
const WAYS = {
  'an end': (socket: Socket) => void socket.end(),
  'a reset': (socket: Socket) => void socket.resetAndDestroy(),
} as const

interface Upstream {
  readonly port: number
  /** Loses the next connections after so many bytes, by default never. */
  loseAfter(bytes: number, how: keyof typeof WAYS): void
  /** The open connections. */
  readonly sockets: ReadonlySet<Socket>
  /** The cancel requests that it got. */
  readonly cancels: readonly Buffer[]
  close(): Promise<void>
}

async function startUpstream(tls?: { key: string; cert: string }): Promise<Upstream> {
  const sockets = new Set<Socket>()
  const cancels: Buffer[] = []
  let limit = Infinity
  let lose = WAYS['an end']
  const serveOne = (socket: Socket): void => {
    sockets.add(socket)
    let left = limit
    socket.on('error', () => {}).once('close', () => sockets.delete(socket))
    const send = (messages: readonly Buffer[]): void => {
      const bytes = Buffer.concat(messages)
      const isLast = bytes.length >= left
      if (left > 0) socket.write(bytes.subarray(0, left))
      left -= bytes.length
      if (isLast && left > -Infinity) {
        left = -Infinity
        lose(socket)
      }
    }
    socket.on('data', (chunk: Buffer) => {
      if (chunk[0] === 0 && chunk.readInt32BE(4) === 80_877_103) socket.write('N')
      else if (chunk[0] === 0 && chunk.readInt32BE(4) === 80_877_102) {
        cancels.push(chunk.subarray(8))
        socket.end()
      } else if (chunk[0] === 0) {
        // The connection may have been opened before the limit was set, for the session that follows.
        left = limit
        send(LOGIN.slice(0, 1))
      } else if (chunk[0] === 'p'.charCodeAt(0)) send(GREETING)
      else if (chunk[0] === 'Q'.charCodeAt(0))
        send(REPLIES[chunk.toString('utf8', 5, chunk.length - 1)]!)
      else if (chunk.subarray(-5).equals(frontend('c'))) send(REPLIES['CopyDone']!)
    })
    if (left === 0) lose(socket)
  }
  const server =
    tls === undefined
      ? createServer(serveOne)
      : createTlsServer({ ...tls, ALPNProtocols: ['postgresql'] }, serveOne)
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    loseAfter(bytes, how) {
      limit = bytes
      lose = WAYS[how]
    },
    sockets,
    cancels,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

interface Ending {
  /** The fields of the last error. */
  readonly error: Record<string, string>
  /** Whether the client got whole messages only. */
  readonly isWhole: boolean
  /** All that the client got. */
  readonly received: Buffer
  readonly reason: Error | undefined
  readonly connection: ServerConnection
}

/** Logs in and sends the statement, and what the COPY needs. Resolves when the connection has ended. */
async function ask(statement: string, options: HandleConnectionOptions): Promise<Ending> {
  const { client, connection } = await piped(options)
  const chunks: Buffer[] = []
  client.socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  client.send(startup({ user: 'app' }))
  const isReady = await client.next('Z', 'E').then(
    ({ type }) => type === 'Z',
    () => false,
  )
  if (isReady) {
    client.send(query(statement))
    if (statement === 'COPY in') {
      const isCopying = await client.next('G', 'E').then(
        ({ type }) => type === 'G',
        () => false,
      )
      if (isCopying) client.send(frontend('d', Buffer.from('1\n')), frontend('c'))
    }
  }
  await endOf(client.ended())
  const reason = await endOf(connection.closed)
  if (reason === 'hangs') throw new Error('"closed" does not settle')
  const received = Buffer.concat(chunks)
  let rest = received
  let last: Buffer = Buffer.alloc(0)
  while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
    last = rest.subarray(0, rest.readInt32BE(1) + 1)
    rest = rest.subarray(last.length)
  }
  const isError = last[0] === 'E'.charCodeAt(0)
  return {
    error: isError ? errorFields({ type: 'E', body: last.subarray(5) }) : {},
    isWhole: rest.length === 0,
    received,
    reason,
    connection,
  }
}

const lengthOf = (messages: readonly Buffer[]): number => Buffer.concat(messages).length

describe('an upstream server whose connection is lost', () => {
  let upstream: Upstream
  let engine: Engine
  beforeAll(async () => {
    upstream = await startUpstream()
    engine = await upstreamEngine({ host: '127.0.0.1', port: upstream.port, password: 'secret' })
  })
  afterAll(async () => {
    await engine.close()
    await upstream.close()
  })
  const named = (): RegExp =>
    new RegExp(
      `^could not reach the PostgreSQL server at 127.0.0.1:${upstream.port}: (ECONNRESET|EPIPE)$`,
    )
  // With one connection at a time, what is not released refuses the next.
  const limits = createLimits({ maxConnections: 1, maxPendingLogins: 1 })

  it.each(Object.keys(WAYS) as (keyof typeof WAYS)[])(
    'by %s after any byte of its login gives 08006 with its name',
    async (how) => {
      for (let bytes = 0; bytes < lengthOf(LOGIN); bytes++) {
        upstream.loseAfter(bytes, how)
        const { error, isWhole, reason, connection } = await ask('rows', { engine, limits })
        expect([bytes, error, isWhole]).toEqual([
          bytes,
          expect.objectContaining({
            S: 'FATAL',
            C: '08006',
            M: expect.stringMatching(named()) as string,
          }),
          true,
        ])
        expect(reason).toMatchObject({ sqlState: '08006' })
        expect(connection.state).toMatchObject({ phase: 'closed', session: undefined })
      }
      await eventually('the upstream connections to end', () => upstream.sockets.size === 0)
    },
  )

  const statements = [
    ['rows', REPLIES['rows']!],
    ['COPY out', REPLIES['COPY out']!],
    ['COPY in', [...REPLIES['COPY in']!, ...REPLIES['CopyDone']!]],
  ] as const
  describe.each(statements)('in "%s"', (statement, replies) => {
    it.each(Object.keys(WAYS) as (keyof typeof WAYS)[])(
      'by %s after any byte gives 57P01 if the client is between two messages',
      async (how) => {
        const starts = new Set([lengthOf(LOGIN)])
        for (const [index] of replies.entries())
          starts.add(lengthOf([...LOGIN, ...replies.slice(0, index + 1)]))
        for (let bytes = lengthOf(LOGIN); bytes <= lengthOf([...LOGIN, ...replies]); bytes++) {
          upstream.loseAfter(bytes, how)
          // For onReply, the server's message has to be whole before the client gets any of it.
          for (const hooks of [{}, { onMessage: () => undefined, onReply: () => undefined }]) {
            const ending = await ask(statement, { engine, limits, ...hooks })
            const { error, isWhole, connection } = ending
            // A reset may take bytes along that were on their way.
            const isAtStart = 'onReply' in hooks || starts.has(bytes)
            if (how === 'an end') expect([bytes, isWhole]).toEqual([bytes, isAtStart])
            const told = isWhole ? { S: 'FATAL', C: '57P01' } : {}
            expect([bytes, error]).toEqual([bytes, expect.objectContaining(told)])
            if (!isWhole) expect(error).toEqual({})
            // Nothing may follow part of a message.
            if (!isWhole && how === 'an end') {
              const part = Buffer.concat(replies).subarray(0, bytes - lengthOf(LOGIN))
              expect(ending.received.subarray(-part.length)).toEqual(part)
            }
            expect(ending.reason).toHaveProperty('message')
            expect(connection.state.phase).toBe('closed')
          }
        }
        await eventually('the upstream connections to end', () => upstream.sockets.size === 0)
      },
    )
  })

  it('gives its error to a client that is sending the data of a COPY, and reads no error before', async () => {
    upstream.loseAfter(lengthOf([...LOGIN, ...REPLIES['COPY in']!]) + 1, 'a reset')
    const served = await serve({ engine, limits })
    const socket = connect({ port: served.port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    const client = rawClient(socket)
    client.send(startup({ user: 'app' }))
    await client.next('Z')
    client.send(query('COPY in'))
    await client.next('G')
    socket.pause()
    const data = frontend('d', Buffer.alloc(100_000, 'x'))
    client.send(data)
    for (const each of upstream.sockets) each.resetAndDestroy()
    for (let sent = 0; sent < 100; sent++)
      await new Promise((resolve) => socket.write(data, resolve))
    expect(socket.destroyed).toBe(false)
    socket.resume()
    expect(errorFields(await client.next('E'))).toMatchObject({ S: 'FATAL', C: '57P01' })
    expect(await endOf(served.connections[0]!.closed)).toHaveProperty('message')
    await served.close()
  })

  it('gets no cancel request for a session that has ended, nor for another key', async () => {
    upstream.loseAfter(Infinity, 'an end')
    const open = async () => {
      const one = await piped({ engine })
      one.client.send(startup({ user: 'app' }))
      const { body } = await one.client.next('K')
      await one.client.next('Z')
      return { ...one, key: body }
    }
    const cancel = async (key: Buffer): Promise<void> => {
      const one = await piped({ engine })
      one.client.send(int32(16), int32(80_877_102), key)
      await one.connection.closed
    }
    // Both have the process ID that the server gave them.
    const [ended, other] = [await open(), await open()]
    ended.client.send(frontend('X'))
    await ended.connection.closed
    for (const key of [ended.key, Buffer.concat([other.key.subarray(0, 4), ended.key.subarray(4)])])
      await cancel(key)
    expect(upstream.cancels).toEqual([])
    await cancel(other.key)
    await eventually('the cancel request', () => upstream.cancels.length > 0)
    expect(upstream.cancels).toEqual([Buffer.concat([int32(42), int32(4_711)])])
    // The server is lost before the request can be relayed.
    const lost = once(other.client.socket, 'end')
    for (const socket of upstream.sockets) socket.resetAndDestroy()
    await cancel(other.key)
    await lost
    await other.connection.closed
    await cancel(other.key)
    await eventually('the upstream connections to end', () => upstream.sockets.size === 0)
  })
})

it('an upstream server with a login whose connection is lost in any phase of its login gives an error with its name', async () => {
  const { key, cert, ca } = await certificatesFor('localhost')
  const upstream = await startUpstream({ key, cert })
  const engine = await upstreamEngine(
    customLogin({
      ...{ host: 'localhost', port: 5_432, user: 'app', database: 'postgres' },
      connectTo: { host: '127.0.0.1', port: upstream.port },
      tls: { ca, negotiation: 'direct' },
      getToken: () => 'secret',
    }),
  )
  const limits = createLimits({ maxConnections: 1, maxPendingLogins: 1 })
  // Before its first byte, within a message, and before each of the others. A login is attempted again, which takes its time.
  const ends = LOGIN.map((_, index) => lengthOf(LOGIN.slice(0, index)))
  for (const bytes of [...ends, 3, lengthOf(LOGIN) - 1]) {
    upstream.loseAfter(bytes, 'an end')
    const { error, isWhole } = await ask('rows', { engine, limits })
    expect([bytes, error, isWhole]).toEqual([
      bytes,
      expect.objectContaining({
        ...{ S: 'FATAL', C: '08006', M: expect.stringContaining('localhost:5432') as string },
      }),
      true,
    ])
  }
  await eventually('the upstream connections to end', () => upstream.sockets.size === 0)
  await engine.close()
  await upstream.close()
})
