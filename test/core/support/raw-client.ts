/** A minimal driver: it writes bytes to a login stream, and records what it receives. */
import { once } from 'node:events'
import { LoginStream } from '../../../core/connection/login-stream.js'
import type { Login } from '../../../core/index.js'

export interface RawClient {
  readonly stream: LoginStream
  /** All bytes received so far. */
  received(): Buffer
  /** Resolves once `count` bytes were received. Rejects if the stream closes before. */
  receive(count: number): Promise<Buffer>
  /** Resolves with the error that the stream ends with, or `undefined`, once it is closed. */
  closed: Promise<Error | undefined>
}

/** Opens a stream of the login, and sends a startup packet. */
export function startRawClient(login: Login, firstPacket: Buffer = startup()): RawClient {
  const stream = new LoginStream(login)
  const chunks: Buffer[] = []
  let size = 0
  let failure: Error | undefined
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    size += chunk.length
    stream.emit('received')
  })
  stream.on('error', (error) => (failure = error))
  const closed = once(stream, 'close').then(
    () => failure,
    () => failure,
  )
  stream.connect()
  stream.write(firstPacket)
  return {
    stream,
    closed,
    received: () => Buffer.concat(chunks),
    async receive(count) {
      const isShort = (): boolean => size < count
      while (isShort()) {
        if (stream.closed)
          throw new Error(`closed after ${size} of ${count} bytes`, { cause: failure })
        await Promise.race([once(stream, 'received'), closed])
      }
      return Buffer.concat(chunks)
    },
  }
}

/** A startup packet, built by hand. */
export function startup(
  parameters: Record<string, string> = { user: 'app', application_name: 'raw' },
): Buffer {
  const body = Buffer.from(`${Object.entries(parameters).flat().join('\0')}\0\0`)
  const header = Buffer.alloc(8)
  header.writeInt32BE(body.length + 8, 0)
  header.writeInt32BE(0x0003_0000, 4)
  return Buffer.concat([header, body])
}

/** The parameters of a startup packet, in order. */
export function parametersOf(packet: Buffer): Record<string, string> {
  const words = packet.toString('utf8', 8).split('\0').slice(0, -2)
  return Object.fromEntries(
    words.flatMap((word, index) => (index % 2 === 0 ? [[word, words[index + 1] ?? '']] : [])),
  )
}
