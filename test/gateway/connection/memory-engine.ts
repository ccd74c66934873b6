/** An engine in memory that answers every message at once and notes what it got; and connections to it that need no port. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Duplex, duplexPair } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import {
  bindComplete,
  closeComplete,
  commandComplete,
  copyInResponse,
  dataRow,
  eachMessage,
  type Engine,
  handleConnection,
  type HandleConnectionOptions,
  noData,
  Oid,
  parseComplete,
  readFrontendMessage,
  readyForQuery,
  rowDescription,
  type ServerConnection,
} from '../../../gateway/index.js'
import { rawClient, type RawClient } from '../raw-client.js'

export interface MemorySession {
  readonly processId: number
  /** All that the engine got. */
  readonly received: Buffer
  /** How often the running statement was cancelled. */
  readonly cancels: number
  readonly isOpen: boolean
  /** Ends the session, as an engine does. */
  end(): void
}

export interface MemoryEngine extends Engine {
  /** All sessions that were opened. */
  readonly sessions: readonly MemorySession[]
}

/** The statement to which the engine replies with CopyInResponse, and the one with a reply that ends within a message. */
export const COPY = 'COPY'
export const HALF = 'HALF'

const ROW = Buffer.concat([rowDescription([{ name: 'v', type: Oid.text }]), dataRow(['value'])])

function replyTo(message: Buffer): Buffer[] {
  const read = readFrontendMessage(message)
  switch (read.type) {
    case 'query':
      if (read.sql === COPY) return [copyInResponse(1)]
      if (read.sql === HALF) return [ROW.subarray(0, -3)]
      return [commandComplete('DONE'), readyForQuery('I')]
    case 'copyDone':
    case 'copyFail':
      return [commandComplete('COPY 1'), readyForQuery('I')]
    case 'functionCall':
    case 'sync':
      return [readyForQuery('I')]
    case 'parse':
      return [parseComplete()]
    case 'bind':
      return [bindComplete()]
    case 'describe':
      return [noData()]
    case 'execute':
      return [commandComplete('DONE')]
    case 'close':
      return [closeComplete()]
    default:
      return []
  }
}

export function memoryEngine(
  processIdOf: (session: number) => number = (one) => one,
): MemoryEngine {
  const sessions: MemorySession[] = []
  return {
    name: 'memory',
    sessions,
    async openSession() {
      const chunks: Buffer[] = []
      const processId = processIdOf(sessions.length + 1)
      let cancels = 0
      const stream = new Duplex({
        read() {},
        write(chunk: Buffer, _encoding, done) {
          chunks.push(Buffer.from(chunk))
          eachMessage(chunk, (message) => {
            for (const reply of replyTo(message)) stream.push(reply)
          })
          done()
        },
        final(done) {
          stream.push(null)
          done()
        },
      })
      stream.push(readyForQuery('I'))
      sessions.push({
        processId,
        get received() {
          return Buffer.concat(chunks)
        },
        get cancels() {
          return cancels
        },
        get isOpen() {
          return !stream.destroyed
        },
        end: () => void stream.push(null),
      })
      return Object.assign(stream, { processId, cancel: () => void cancels++ })
    },
    close: async () => {},
  }
}

export interface Piped {
  readonly client: RawClient
  /** The stream that the server sees, from the other side; with TLS, below it. */
  readonly wire: Duplex
  readonly connection: ServerConnection
}

/** Connects to `handleConnection` through memory, with direct TLS for a client that has an authority to trust. */
export async function piped(options: HandleConnectionOptions, ca?: string): Promise<Piped> {
  const [wire, stream] = duplexPair()
  const connection = handleConnection(stream, options)
  // A pair does not pass on that a side was destroyed, as a socket does.
  wire.on('error', () => {}).once('close', () => stream.destroy())
  stream.once('close', () => setImmediate(() => wire.destroy()))
  if (ca === undefined) return { client: rawClient(wire as Socket), wire, connection }
  const secured = connectTls({
    ...{ socket: wire, ca, servername: 'localhost', ALPNProtocols: ['postgresql'] },
  })
  secured.on('error', () => {})
  await once(secured, 'secureConnect')
  return { client: rawClient(secured), wire, connection }
}
