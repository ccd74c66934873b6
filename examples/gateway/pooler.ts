/**
 * A transaction pooler: many clients on a few sessions, each of which serves one transaction at a time. `npm run example gateway/pooler`
 *
 * As with any transaction pooler, session state (SET, LISTEN, temporary tables, named prepared statements) is lost between transactions.
 */
import { Duplex } from 'node:stream'
import {
  createReplyTracker,
  eachMessage,
  type Engine,
  type EngineSession,
  handleConnection,
  postgresEngine,
  type SessionRequest,
} from 'pg-iam/gateway'
import { type ExampleServer, listen } from './server.js'

/** A session of the server, and how far its replies are. */
interface Pooled {
  readonly session: EngineSession
  readonly replies: ReturnType<typeof createReplyTracker>
  /** How many ReadyForQuery messages are expected. The first one follows the login. */
  asked: number
}

/** Returns an engine that shares up to `size` sessions of another engine, which are all of the role of the first client. */
export function pooled(engine: Engine, size: number): Engine {
  const idle: Pooled[] = []
  const waiting: ((free: Pooled) => void)[] = []
  let opened = 0
  let clients = 0
  const open = async (request: SessionRequest): Promise<Pooled> => {
    opened++
    const session = await engine.openSession(request).catch((error: unknown) => {
      opened--
      throw error
    })
    const own: Pooled = { session, replies: createReplyTracker(), asked: 1 }
    session.on('data', (chunk: Buffer) => own.replies.push(chunk)).on('error', () => {})
    session.once('close', () => {
      opened--
      if (idle.includes(own)) idle.splice(idle.indexOf(own), 1)
    })
    while (!isFree(own)) await new Promise((resolve) => session.once('data', resolve))
    return own
  }
  const take = async (request: SessionRequest): Promise<Pooled> =>
    idle.pop() ?? (opened < size ? open(request) : new Promise((free) => waiting.push(free)))
  const give = (own: Pooled): void => {
    if (own.session.destroyed) return
    const next = waiting.shift()
    if (next === undefined) idle.push(own)
    else next(own)
  }
  return {
    name: 'pooled',
    async openSession(request) {
      let own: Pooled | undefined
      const relay = (chunk: Buffer): void => {
        if (!client.writableEnded && !client.push(chunk)) own?.session.pause()
        if (own === undefined || !isFree(own)) return
        own.session.off('data', relay).off('close', lost)
        give(own)
        own = undefined
      }
      const lost = (): void => void client.destroy()
      const send = async (messages: Buffer): Promise<void> => {
        if (own === undefined) {
          own = await take(request)
          own.session.on('data', relay).on('close', lost)
        }
        own.asked += requestsIn(messages)
        own.session.write(messages)
      }
      /** A client that leaves in a transaction must not leave it to the next one. */
      const leave = (): void => {
        own?.session.resume()
        if (own !== undefined) void send(Buffer.concat([COPY_FAIL, SYNC, ROLLBACK]))
      }
      const client: Duplex = new Duplex({
        read: () => void own?.session.resume(),
        write(messages: Buffer, _encoding, done) {
          if (messages[0] === TERMINATE) done()
          else send(messages).then(() => done(), done)
        },
        final(done) {
          leave()
          client.push(null)
          done()
        },
        destroy(error, done) {
          if (!client.writableEnded) leave()
          done(error)
        },
      })
      client.push(READY)
      return Object.assign(client, { processId: ++clients, cancel: () => own?.session.cancel() })
    },
    close: () => engine.close(),
  }
}

/** Whether all requests are answered, and no transaction is open. */
function isFree({ replies, asked }: Pooled): boolean {
  return replies.atBoundary && replies.readyCount === asked && replies.transactionStatus === IDLE
}

function requestsIn(messages: Buffer): number {
  let count = 0
  eachMessage(messages, ([type]) => {
    if (type !== undefined && ENDS_REQUEST.has(type)) count++
  })
  return count
}

function message(type: string, body = ''): Buffer {
  const bytes = Buffer.from(`${type}\0\0\0\0${body}`, 'latin1')
  bytes.writeInt32BE(bytes.length - 1, 1)
  return bytes
}

const ENDS_REQUEST = new Set(Buffer.from('QSF'))
const [TERMINATE, IDLE] = Buffer.from('XI')
const READY = message('Z', 'I')
const COPY_FAIL = message('f', 'the client has left\0')
const SYNC = message('S')
const ROLLBACK = message('Q', 'ROLLBACK\0')

/** Serves any number of clients, as the user `app`, on two sessions. */
export async function start(): Promise<ExampleServer> {
  const engine = pooled(await postgresEngine({ roles: ['app'] }), 2)
  const { port, close } = await listen((socket) => void handleConnection(socket, { engine }))
  return {
    port,
    async close() {
      await close()
      await engine.close()
    },
  }
}
