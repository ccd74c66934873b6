/** Engines that send what is no message, and rewriters that throw: the connection ends, and the process goes on. */
import { Duplex } from 'node:stream'
import {
  type Engine,
  type HandleConnectionOptions,
  readyForQuery,
  rowDescription,
} from '../../../gateway/index.js'
import { endOf } from '../../support/eventually.js'
import { int32 } from '../../wire/frontend-messages.js'
import { errorFields, query, startup } from '../raw-client.js'
import { piped } from './memory-engine.js'

/** An engine that replies to everything with the same bytes. */
function replying(bytes: Buffer): { engine: Engine; isOpen: () => boolean } {
  const session: Duplex = new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      session.push(bytes)
      done()
    },
    final(done) {
      session.push(null)
      done()
    },
  })
  session.push(readyForQuery('I'))
  const engine = {
    name: 'replying',
    openSession: async () => Object.assign(session, { processId: 1, cancel() {} }),
    close: async () => {},
  }
  return { engine, isOpen: () => !session.destroyed }
}

const malformed = (length: number): Buffer => Buffer.concat([Buffer.from('S'), int32(length)])
const ERROR = Buffer.from('E\0\0\0\u0005\0', 'latin1')

const replies: [what: string, bytes: Buffer][] = [
  ['of length 0', malformed(0)],
  ['of length 3', malformed(3)],
  ['of length -1, before an ErrorResponse', Buffer.concat([malformed(-1), ERROR])],
  ['of length -6, before an ErrorResponse', Buffer.concat([malformed(-6), ERROR])],
  ['of the least length', malformed(-(2 ** 31))],
  ['of length 2, after another', Buffer.concat([rowDescription([]), malformed(2)])],
]
const hooks: [what: string, options: HandleConnectionOptions][] = [
  ['without hooks', {}],
  ['with onMessage', { onMessage: () => undefined }],
  ['with onReply', { onReply: async () => undefined }],
  ['with a server version', { serverVersion: '17.0 (mine)' }],
]

describe.each(hooks)('a session %s', (_what, options) => {
  it.each(replies)('ends with an error after a message of the engine %s', async (_how, bytes) => {
    const { engine, isOpen } = replying(bytes)
    const { client, connection } = await piped({ engine, ...options })
    client.send(startup({ user: 'app' }))
    await client.next('Z')
    client.send(query('SELECT 1'))
    const messages = await endOf(client.ended())
    if (messages === 'hangs') throw new Error('the client hangs')
    expect(errorFields(messages.at(-1)!)).toMatchObject({
      S: 'FATAL',
      C: '08P01',
      M: 'the server behind the gateway does not speak the PostgreSQL protocol',
    })
    expect(await endOf(connection.closed)).toBeInstanceOf(Error)
    expect(isOpen()).toBe(false)
  })
})

it.each(['onMessage', 'onReply'] as const)(
  'a session ends with an error if %s returns a message of an impossible length',
  async (name) => {
    let isIn = false
    const own = replying(readyForQuery('I'))
    const served = await piped({
      engine: own.engine,
      [name]: () => (isIn ? Buffer.concat([malformed(-1), ERROR]) : undefined),
    })
    served.client.send(startup({ user: 'app' }))
    await served.client.next('Z')
    isIn = true
    served.client.send(query('SELECT 1'))
    const messages = await endOf(served.client.ended())
    if (messages === 'hangs') throw new Error('the client hangs')
    expect(errorFields(messages.at(-1)!)).toMatchObject({ S: 'FATAL', C: '08P01' })
    expect(await endOf(served.connection.closed)).toBeInstanceOf(Error)
    expect(own.isOpen()).toBe(false)
  },
)

it.each(['toEngine', 'toClient'] as const)(
  'a session ends with an error if %s of its rewriter throws',
  async (name) => {
    const { engine, isOpen } = replying(readyForQuery('I'))
    let isThrowing = false
    const fails = (): never => {
      throw new Error('a bug')
    }
    const { client, connection } = await piped({
      engine,
      rewrite: () => ({
        toEngine: (messages) => (isThrowing && name === 'toEngine' ? fails() : messages),
        toClient: (bytes) =>
          isThrowing && name === 'toClient' ? fails() : { bytes, isCut: false },
      }),
    })
    client.send(startup({ user: 'app' }))
    await client.next('Z')
    isThrowing = true
    client.send(query('SELECT 1'))
    expect(errorFields(await client.next('E'))).toMatchObject({ S: 'FATAL', C: '58000' })
    expect(await endOf(connection.closed)).toMatchObject({ message: 'a bug' })
    expect(isOpen()).toBe(false)
  },
)
