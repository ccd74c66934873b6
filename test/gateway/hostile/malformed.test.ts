/** Messages of clients that are wrong in every way, in every phase of a connection, with and without TLS. */
import * as fc from 'fast-check'
import {
  createLimits,
  type HandleConnectionOptions,
  type ServerConnection,
} from '../../../gateway/index.js'
import { FrontendType } from '../../../wire/messages.js'
import { createFrontendReader } from '../../../wire/frontend.js'
import { frontend, inChunks, int16, int32, text } from '../../wire/frontend-messages.js'
import { endOf } from '../../support/eventually.js'
import { sasl } from '../auth/sasl.js'
import { errorFields, password, query, type RawClient, startup } from '../raw-client.js'
import { readRecordings } from './frames/recordings.js'
import { COPY, HALF, memoryEngine, piped, type Piped } from '../connection/memory-engine.js'
import { certificatesFor } from '../connection/served.js'

let tls: { key: string; cert: string; ca: string }
beforeAll(async () => {
  tls = await certificatesFor('localhost')
})

interface Malformed {
  readonly what: string
  readonly bytes: Buffer
}

/** A valid message, where its counts are, and other bodies that are malformed. */
interface Shape {
  readonly type: string
  readonly body: Buffer
  /** The offsets of 16-bit counts in the body. */
  readonly counts?: readonly number[]
  readonly bodies?: Readonly<Record<string, Buffer>>
}

const nul = Buffer.alloc(1)
const value = (length: number): Buffer => int32(length)
/** Every message of a session, with something in each of its lists. */
const SHAPES: Readonly<Record<string, Shape>> = {
  Query: { type: 'Q', body: text('SELECT 1') },
  Parse: {
    type: 'P',
    body: Buffer.concat([text('s'), text('SELECT $1'), int16(1), int32(23)]),
    counts: [12],
  },
  Bind: {
    type: 'B',
    body: Buffer.concat([
      ...[text('p'), text('s')],
      ...[int16(1), int16(0), int16(2), value(2), Buffer.from('42'), value(-1), int16(1), int16(1)],
    ]),
    counts: [4, 8, 20],
    bodies: {
      'a value of length -2': Buffer.concat([nul, nul, int16(0), int16(1), value(-2), int16(0)]),
      'a value of the least length': Buffer.concat([
        ...[nul, nul, int16(0), int16(1), value(-(2 ** 31)), int16(0)],
      ]),
      'a value of 2 GB': Buffer.concat([
        ...[nul, nul, int16(0), int16(1), value(0x7fff_ffff), int16(0)],
      ]),
    },
  },
  Describe: {
    type: 'D',
    body: Buffer.concat([Buffer.from('S'), text('s')]),
    bodies: { 'another kind': Buffer.concat([Buffer.from('x'), text('s')]) },
  },
  Close: {
    type: 'C',
    body: Buffer.concat([Buffer.from('P'), text('p')]),
    bodies: { 'another kind': Buffer.concat([nul, text('p')]) },
  },
  Execute: { type: 'E', body: Buffer.concat([text('p'), int32(0)]) },
  FunctionCall: {
    type: 'F',
    body: Buffer.concat([
      ...[int32(1_299), int16(1), int16(0), int16(1), value(1), Buffer.from('x'), int16(0)],
    ]),
    counts: [4, 8],
    bodies: {
      'an argument of length -2': Buffer.concat([
        ...[int32(1_299), int16(0), int16(1), value(-2), int16(0)],
      ]),
    },
  },
  CopyData: { type: 'd', body: Buffer.from('1\n') },
  CopyFail: { type: 'f', body: text('no') },
  CopyDone: { type: 'c', body: Buffer.alloc(0) },
  Sync: { type: 'S', body: Buffer.alloc(0) },
  Flush: { type: 'H', body: Buffer.alloc(0) },
  Terminate: { type: 'X', body: Buffer.alloc(0) },
}

/** A message with the length word as given. */
function announced(type: string, length: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(length), body])
}

const SYNCS = Buffer.concat([frontend('S'), frontend('S')])

function malformedOf({ type, body, counts = [], bodies = {} }: Shape): Malformed[] {
  const wrong: Malformed[] = [0, 1, 2, 3, -1, -(2 ** 31), 0x4000_0000, 0x7fff_ffff].map(
    (length) => ({ what: `the length ${length}`, bytes: announced(type, length, body) }),
  )
  const right = body.length + 4
  wrong.push(
    {
      what: 'a length that is one byte too small',
      bytes: Buffer.concat([announced(type, right - 1, body), SYNCS]),
    },
    {
      what: 'a length that is one byte too large',
      bytes: Buffer.concat([announced(type, right + 1, body), SYNCS]),
    },
  )
  for (const offset of counts)
    for (const count of [0xffff, 0x8000, body.readUInt16BE(offset) + 1, 0]) {
      const changed = Buffer.from(body)
      changed.writeUInt16BE(count, offset)
      wrong.push({ what: `the count ${count} at ${offset}`, bytes: frontend(type, changed) })
    }
  for (const [what, other] of Object.entries(bodies))
    wrong.push({ what, bytes: frontend(type, other) })
  // CopyData may have any body.
  if (type === 'd') return wrong
  for (let length = 0; length < body.length; length++)
    wrong.push({
      what: `a body cut off after ${length} bytes`,
      bytes: frontend(type, body.subarray(0, length)),
    })
  wrong.push({ what: 'a byte after its body', bytes: frontend(type, body, nul) })
  return wrong
}

const KNOWN = new Set<number>(Object.values(FrontendType))
const UNKNOWN_TYPES: readonly Malformed[] = Array.from({ length: 256 }, (_, type) => type)
  .filter((type) => !KNOWN.has(type) || type === FrontendType.password)
  .map((type) => {
    const bytes = frontend('Q', text('x'))
    bytes[0] = type
    return { what: `the type ${type}`, bytes }
  })

// Each test uses the same limits for all of its connections, one after another: what one of them does not release refuses the next.

function oneAtATime(): HandleConnectionOptions {
  return {
    limits: createLimits({ maxConnections: 1, maxPendingLogins: 1 }),
    loginTimeoutMs: 600_000,
  }
}

/** How a connection has ended: the client's last error, whether it got whole messages only, and the result of `closed`. */
async function ending(client: RawClient, connection: ServerConnection): Promise<string> {
  const messages = await endOf(client.ended())
  if (messages === 'hangs') return 'the client hangs'
  const last = messages.at(-1)
  const reason = await endOf(connection.closed)
  if (reason === 'hangs') return '"closed" does not settle'
  const { S, C } = last?.type === 'E' ? errorFields(last) : {}
  const { code = reason?.message ?? 'the client' } = (reason ?? {}) as { code?: string }
  return `${S === undefined ? 'no error' : `${S} ${C}`}, closed by ${code}, ${connection.state.phase}`
}

async function endings(
  all: readonly Malformed[],
  endOne: (bytes: Buffer) => Promise<string>,
): Promise<Record<string, string>> {
  const ends: Record<string, string> = {}
  for (const { what, bytes } of all) ends[what] = await endOne(bytes)
  return ends
}

function same(all: readonly Malformed[], end: string): Record<string, string> {
  return Object.fromEntries(all.map(({ what }) => [what, end]))
}

const REFUSED = 'FATAL 08P01, closed by ERR_GATEWAY_PROTOCOL, closed'

/** The phases of a session: what the client sends to get there, and the reply with which it has arrived. */
const PHASES: Readonly<Record<string, { sent: readonly Buffer[]; reply: string; end: string }>> = {
  'an idle session': { sent: [], reply: '', end: REFUSED },
  'a pipeline of the extended protocol': {
    sent: [
      frontend('P', text(''), text('SELECT 1'), int16(0)),
      frontend('B', text(''), text(''), int16(0), int16(0), int16(0)),
    ],
    reply: '2',
    end: REFUSED,
  },
  'a COPY': {
    sent: [query(COPY), frontend('d', Buffer.from('1\n'))],
    reply: 'G',
    end: REFUSED,
  },
  // Another message would be read as the rest of this one.
  'a reply that is not complete': {
    sent: [query(HALF)],
    reply: 'T',
    end: 'no error, closed by ERR_GATEWAY_PROTOCOL, closed',
  },
}

interface Session extends Piped {
  /** What the engine has got. */
  received(): Buffer
  isOpen(): boolean
}

async function sessionIn(
  phase: string,
  options: HandleConnectionOptions,
  ca?: string,
): Promise<Session> {
  const engine = memoryEngine()
  const one = await piped({ engine, ...options, ...(ca === undefined ? {} : { tls }) }, ca)
  const { sent, reply } = PHASES[phase]!
  one.client.send(startup({ user: 'app' }))
  await one.client.next('Z')
  if (sent.length > 0) {
    one.client.send(...sent)
    await one.client.next(reply)
  }
  const [session] = engine.sessions
  return { ...one, received: () => session!.received, isOpen: () => session!.isOpen }
}

/** Sends bytes in a phase of a session, and returns how it has ended for the client and for the engine. */
async function endingIn(
  phase: string,
  pieces: readonly Buffer[],
  options: HandleConnectionOptions,
  ca?: string,
): Promise<string> {
  const { client, connection, received, isOpen } = await sessionIn(phase, options, ca)
  for (const piece of pieces) client.send(piece)
  const end = await ending(client, connection)
  const expected = Buffer.concat([...PHASES[phase]!.sent, frontend('X')])
  const got = received().equals(expected)
    ? ''
    : `, but the engine got ${received().toString('hex')}`
  return `${end}${got}${isOpen() ? ', but its session is open' : ''}`
}

describe.each(Object.keys(PHASES))('in %s, a message of a client', (phase) => {
  const { end } = PHASES[phase]!

  it.each(Object.keys(SHAPES))(
    'of the type %s ends the connection with an error if it is malformed in any way',
    async (name) => {
      const all = malformedOf(SHAPES[name]!)
      for (const own of [{}, { onMessage: () => undefined }, { onReply: async () => undefined }]) {
        const options = { ...oneAtATime(), ...own }
        const ends = await endings(all, (bytes) => endingIn(phase, [bytes], options))
        // For onReply, the engine's message has to be whole before the client gets any of it.
        expect(ends).toEqual(same(all, 'onReply' in own ? REFUSED : end))
      }
    },
  )

  it('of the type of no message ends the connection with an error', async () => {
    const options = oneAtATime()
    const ends = await endings(UNKNOWN_TYPES, (bytes) => endingIn(phase, [bytes], options))
    expect(ends).toEqual(same(UNKNOWN_TYPES, end))
  })

  it('ends the connection with an error if it is malformed and arrives byte by byte', async () => {
    const options = oneAtATime()
    // What precedes the fault of these is a valid CopyData.
    const all = Object.values(SHAPES)
      .filter(({ type }) => type !== 'd')
      .map((shape) => malformedOf(shape).at(-1)!)
    const ends = await endings(all, (bytes) =>
      endingIn(
        phase,
        [...bytes].map((byte) => Buffer.of(byte)),
        options,
      ),
    )
    expect(ends).toEqual(same(all, end))
  })

  it('within TLS ends the connection with an error if it is malformed', async () => {
    const options = oneAtATime()
    const all = Object.entries(SHAPES).flatMap(([name, shape]) =>
      malformedOf(shape)
        .filter((_, index, { length }) => index === 2 || index === 8 || index === length - 1)
        .map(({ what, bytes }) => ({ what: `${name}: ${what}`, bytes })),
    )
    const ends = await endings(all, (bytes) => endingIn(phase, [bytes], options, tls.ca))
    expect(ends).toEqual(same(all, end))
  })

  it.each(['plain', 'encrypted'])(
    'leaves nothing behind if the %s connection ends anywhere within it',
    async (how) => {
      const options = oneAtATime()
      const all = Object.entries(SHAPES)
        .filter(([name]) => name !== 'Terminate')
        .flatMap(([name, { type, body }]) => {
          const whole = frontend(type, body)
          const lengths = how === 'plain' ? [...whole.keys()].slice(1) : [3, whole.length - 1]
          return lengths.map((length) => ({
            what: `${name} after ${length} bytes`,
            bytes: whole.subarray(0, length),
          }))
        })
      const ends = await endings(all, async (bytes) => {
        const ca = how === 'plain' ? undefined : tls.ca
        const { client, connection, isOpen, received } = await sessionIn(phase, options, ca)
        client.send(bytes)
        client.socket.end()
        const reason = await endOf(connection.closed)
        const expected = Buffer.concat([...PHASES[phase]!.sent, frontend('X')])
        return `${String(reason)}, ${isOpen() ? 'open' : 'ended'}, ${received().equals(expected)}`
      })
      expect(ends).toEqual(same(all, 'undefined, ended, true'))
    },
  )

  const records: [what: string, bytes: Buffer][] = [
    ['a record that cannot be decrypted', Buffer.from(`1703030020${'5a'.repeat(32)}`, 'hex')],
    ['a record of no type', Buffer.from('ff03030001ff', 'hex')],
    ['a message without TLS', query('SELECT 1')],
    ['a record that is not complete', Buffer.from('17030300ff5a5a', 'hex')],
    ['nothing, without a TLS alert', Buffer.alloc(0)],
  ]
  it.each(records)('within TLS leaves nothing behind if it is %s', async (_what, bytes) => {
    const options = oneAtATime()
    const { wire, connection, isOpen, received } = await sessionIn(phase, options, tls.ca)
    wire.write(bytes)
    wire.end()
    expect(await endOf(connection.closed)).not.toBe('hangs')
    expect(connection.state.phase).toBe('closed')
    expect(isOpen()).toBe(false)
    expect(received()).toEqual(Buffer.concat([...PHASES[phase]!.sent, frontend('X')]))
  })
})

describe('a client that is asked for its password', () => {
  const auths: Readonly<Record<string, { options: HandleConnectionOptions; answer: Buffer }>> = {
    cleartext: {
      options: { auth: 'cleartext', password: () => 'secret' },
      answer: password('secret'),
    },
    md5: {
      options: { auth: 'md5', password: () => 'secret' },
      answer: password(`md5${'0'.repeat(32)}`),
    },
    'scram-sha-256': {
      options: { auth: 'scram-sha-256', password: () => 'secret' },
      answer: sasl('SCRAM-SHA-256', 'n,,n=,r=abc'),
    },
  }

  async function endingOf(method: string, bytes: Buffer, ca?: string): Promise<string> {
    const engine = memoryEngine()
    const { options } = auths[method]!
    const own = { engine, ...oneAtATime(), ...options, ...(ca === undefined ? {} : { tls }) }
    const { client, connection } = await piped(own, ca)
    client.send(startup({ user: 'app' }))
    await client.next('R')
    client.send(bytes)
    return `${await ending(client, connection)}, ${engine.sessions.length} sessions`
  }

  it.each(Object.keys(auths))(
    'with %s gets an error, and no session, for any malformed answer',
    async (method) => {
      const { answer } = auths[method]!
      const body = answer.subarray(5)
      const all = malformedOf({ type: 'p', body }).filter(
        // Further messages are those of the session.
        ({ what }) => what !== 'a length that is one byte too large',
      )
      const types = Array.from({ length: 256 }, (_, type) => type)
        .filter((type) => type !== FrontendType.password)
        .map((type) => ({
          what: `the type ${type}`,
          bytes: Buffer.concat([Buffer.of(type), answer.subarray(1)]),
        }))
      const end = 'FATAL 08P01, closed by 08P01, closed, 0 sessions'
      const every = [...all, ...types]
      expect(await endings(every, (bytes) => endingOf(method, bytes))).toEqual(same(every, end))
      const some = every.filter((_, index) => index % 20 === 0)
      const encrypted = await endings(some, (bytes) => endingOf(method, bytes, tls.ca))
      expect(encrypted).toEqual(same(some, end))
    },
  )

  it.each(Object.keys(auths))(
    'with %s leaves nothing behind if it ends anywhere within its answer',
    async (method) => {
      const { options, answer } = auths[method]!
      const own = { ...oneAtATime(), ...options }
      for (let length = 0; length < answer.length; length++) {
        const { client, connection } = await piped(own)
        client.send(startup({ user: 'app' }))
        await client.next('R')
        client.send(answer.subarray(0, length))
        client.socket.end()
        expect(await endOf(connection.closed)).toBeInstanceOf(Error)
        expect(connection.state).toMatchObject({ phase: 'closed', authenticated: false })
      }
    },
  )
})

describe('a startup packet', () => {
  const packet = startup({ user: 'app', database: 'd', application_name: 'a' })
  /** The packet with a right length word. */
  const sized = (bytes: Buffer): Buffer => {
    const whole = Buffer.from(bytes)
    whole.writeInt32BE(whole.length, 0)
    return whole
  }
  const inTls: [how: string, ca: () => string | undefined][] = [
    ['without TLS', () => undefined],
    ['within TLS', () => tls.ca],
  ]

  async function endingOf(bytes: Buffer, ca: string | undefined, isLast: boolean): Promise<string> {
    const engine = memoryEngine()
    const own = { engine, ...oneAtATime(), ...(ca === undefined ? {} : { tls }) }
    const { client, connection } = await piped(own, ca)
    client.send(bytes)
    if (isLast) client.socket.end()
    const end = await ending(client, connection)
    return `${end.slice(0, end.indexOf(', closed by'))}, ${engine.sessions.length} sessions`
  }

  it.each(inTls)('%s is refused wherever its parameters are cut off', async (_how, ca) => {
    const all = Array.from({ length: packet.length - 8 }, (_, index) => ({
      what: `after ${8 + index} bytes`,
      bytes: sized(packet.subarray(0, 8 + index)),
    }))
    const ends = await endings(all, (bytes) => endingOf(bytes, ca(), false))
    expect(ends).toEqual(same(all, 'FATAL 08P01, 0 sessions'))
  })

  it.each(inTls)('%s opens no session wherever the stream ends in it', async (_how, ca) => {
    const all = Array.from({ length: packet.length }, (_, length) => ({
      what: `after ${length} bytes`,
      bytes: packet.subarray(0, length),
    }))
    const ends = await endings(all, (bytes) => endingOf(bytes, ca(), true))
    expect(ends).toEqual(same(all, 'no error, 0 sessions'))
  })

  it.each(inTls)('%s is refused without an answer if its length is impossible', async (_h, ca) => {
    const lengths = [0, 1, 4, 7, 10_001, 0x7fff_ffff, -1, -(2 ** 31)]
    const all = lengths.map((length) => ({
      what: `the length ${length}`,
      bytes: Buffer.concat([int32(length), packet.subarray(4)]),
    }))
    const ends = await endings(all, (bytes) => endingOf(bytes, ca(), false))
    expect(ends).toEqual(same(all, 'no error, 0 sessions'))
  })

  it.each(inTls)(
    '%s may be the last that a client sends, while a hook is pending',
    async (_how, ca) => {
      const engine = memoryEngine()
      const own = {
        engine,
        // The end of the stream is noticed before the session has begun.
        onAuthenticated: () => new Promise((resolve) => void setImmediate(resolve)),
        ...(ca() === undefined ? {} : { tls }),
      }
      const { client, connection } = await piped(own, ca())
      client.send(packet)
      client.socket.end()
      expect(await endOf(connection.closed)).toBeUndefined()
      expect(engine.sessions.map(({ isOpen }) => isOpen)).toEqual([false])
    },
  )
})

describe('what real clients send', () => {
  it('ends in no crash, no hang and no malformed message for the engine, whatever bytes are changed', async () => {
    const conversations = readRecordings().flatMap((each) => each.conversations)
    const options = oneAtATime()
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...conversations),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
        fc.array(fc.nat(), { maxLength: 3 }),
        fc.constantFrom<HandleConnectionOptions>(
          {},
          { onMessage: () => undefined },
          { onMessage: async () => undefined, onReply: async () => undefined },
        ),
        async ({ frontend: bytes }, changes, cuts, hooks) => {
          const changed = Buffer.from(bytes)
          for (const [at, byte] of changes) changed[at % changed.length] = byte
          const engine = memoryEngine()
          const { client, connection } = await piped({
            ...{ engine, auth: 'cleartext', validateCredentials: () => true },
            ...options,
            ...hooks,
          })
          for (const chunk of inChunks(changed, cuts)) {
            client.send(chunk)
            await new Promise(setImmediate)
          }
          client.socket.end()
          expect(await endOf(connection.closed)).not.toBe('hangs')
          for (const { received, isOpen } of engine.sessions) {
            expect(isOpen).toBe(false)
            const reader = createFrontendReader()
            const whole = reader.push(received) ?? Buffer.alloc(0)
            expect(whole).toHaveLength(received.length - 5)
            expect(reader.terminated).toBe(true)
          }
        },
      ),
      { numRuns: 1_000 },
    )
  })
})
