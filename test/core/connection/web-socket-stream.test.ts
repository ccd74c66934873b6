import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import {
  type WebSocketLike,
  WebSocketStream,
  type WebSocketStreamOptions,
} from '../../../core/connection/web-socket-stream.js'

let server: WebSocketServer
let url: string
beforeAll(async () => {
  server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(() => {
  for (const socket of server.clients) socket.terminate()
})
afterAll(() => new Promise((resolve) => server.close(resolve)))

/** What a browser lacks. */
const ONLY_WS: ReadonlySet<string | symbol> = new Set(['pause', 'resume', 'terminate'])

/** Both ends of a WebSocket. The stream's end has what a browser has, or all of `ws`. */
async function connected(
  kind: 'browser' | 'ws',
  options: Partial<WebSocketStreamOptions> = {},
): Promise<{ stream: WebSocketStream; peer: WebSocket }> {
  const accepted = once(server, 'connection') as Promise<[WebSocket]>
  const socket = new WebSocket(url)
  const asInBrowser = new Proxy(socket, {
    get(target, name) {
      if (ONLY_WS.has(name)) return undefined
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  })
  const stream = new WebSocketStream(
    (kind === 'ws' ? socket : asInBrowser) as unknown as WebSocketLike,
    { peer: 'the server', ...options },
  )
  await stream.opened
  const [peer] = await accepted
  return { stream, peer }
}

describe.each(['browser', 'ws'] as const)('a stream on a WebSocket, as of %s,', (kind) => {
  it('carries bytes in both directions, whatever the messages are', async () => {
    const { stream, peer } = await connected(kind)
    peer.on('message', (data: Buffer) => {
      for (const byte of data) peer.send(Buffer.of(byte))
      peer.close(1000)
    })
    stream.cork()
    stream.write('one ')
    stream.write('two')
    stream.uncork()
    const parts: Buffer[] = []
    for await (const part of stream) parts.push(part as Buffer)
    expect(String(Buffer.concat(parts))).toBe('one two')
  })

  it('splits large writes into messages of a mebibyte, and waits until they are sent', async () => {
    const { stream, peer } = await connected(kind)
    const sizes: number[] = []
    peer.on('message', (data: Buffer) => void sizes.push(data.length))
    await new Promise((resolve) => stream.write(Buffer.alloc(2_500_000), resolve))
    stream.end()
    await once(peer, 'close')
    expect(sizes).toEqual([1_048_576, 1_048_576, 402_848])
  })

  it('fails a write after the peer has closed with an error, which has the close code', async () => {
    const { stream, peer } = await connected(kind)
    peer.close(1011, 'out of order')
    const [error] = (await once(stream, 'error')) as [Error]
    expect(error).toMatchObject({ code: 'ECONNRESET', closeCode: 1011 })
    expect(error.message).toBe('the WebSocket to the server closed (code 1011: out of order)')
    const failure = await new Promise((resolve) => stream.write('late', resolve))
    expect(failure).toMatchObject({ code: 'ERR_STREAM_DESTROYED' })
  })

  it('gives what it has received before it fails', async () => {
    const { stream, peer } = await connected(kind)
    peer.send(Buffer.from('the end'))
    peer.close()
    const parts: Buffer[] = []
    const read = async (): Promise<void> => {
      for await (const part of stream) parts.push(part as Buffer)
    }
    // A close without a code, which is 1005.
    await read().catch(() => {})
    expect(String(Buffer.concat(parts))).toBe('the end')
  })

  it('calls back for a write that will never be sent, when it is destroyed', async () => {
    const { stream, peer } = await connected(kind)
    peer.pause()
    const called = new Promise((resolve) => stream.write(Buffer.alloc(64 * 1_048_576), resolve))
    stream.on('error', () => {}).destroy(new Error('given up'))
    expect(String(await called)).toMatch(/given up|closed/)
  })

  it('closes the WebSocket when it is destroyed', async () => {
    const { stream, peer } = await connected(kind)
    stream.destroy()
    await once(peer, 'close')
  })
})

it('a stream on a WebSocket of ws stops reading while nobody reads', async () => {
  const { stream, peer } = await connected('ws')
  const chunk = Buffer.alloc(1_048_576)
  const sent = (): Promise<unknown> => new Promise((resolve) => peer.send(chunk, resolve))
  for (let each = 0; each < 64; each++) void sent()
  await once(stream, 'readable')
  await new Promise((resolve) => setImmediate(resolve))
  expect(stream.readableLength).toBeLessThan(8 * chunk.length)
  let received = 0
  for await (const part of stream) {
    received += (part as Buffer).length
    if (received === 64 * chunk.length) break
  }
  expect(received).toBe(64 * chunk.length)
})

it('a stream on a WebSocket that cannot be paused fails with ERR_PROTOCOL at its limit of unread bytes', async () => {
  const { stream, peer } = await connected('browser', { maxUnreadBytes: 100_000 })
  peer.send(Buffer.alloc(100_001))
  const [error] = (await once(stream, 'error')) as [Error]
  expect(error).toMatchObject({
    code: 'ERR_PROTOCOL',
    message: expect.stringContaining('100001 bytes that were not read'),
    hint: expect.stringContaining('cursor'),
  })
  const [code] = (await once(peer, 'close')) as [number]
  expect(code).toBe(1008)
})
