/** Replays what real clients have sent, split in every way. See frames/record.ts. */
import { Duplex, duplexPair } from 'node:stream'
import {
  type Engine,
  handleConnection,
  type HandleConnectionOptions,
} from '../../../gateway/index.js'
import { type Conversation, readRecordings, withoutKey } from './frames/recordings.js'

/** An engine whose sessions answer as the server of the recording did. */
function recordedEngine({ replies }: Conversation, received: Buffer[]): Engine {
  return {
    name: 'recorded',
    async openSession() {
      const left = [...replies]
      let bytes = 0
      const answer = (): void => {
        while (left.length > 0 && left[0]!.after <= bytes) session.push(left.shift()!.bytes)
      }
      const session = new Duplex({
        read() {},
        write(chunk: Buffer, _encoding, done) {
          received.push(Buffer.from(chunk))
          bytes += chunk.length
          answer()
          done()
        },
        final(done) {
          session.push(null)
          done()
        },
      })
      answer()
      return Object.assign(session, { processId: 1, cancel() {} })
    },
    close: async () => {},
  }
}

interface Replayed {
  /** What `onMessage` got. */
  readonly messages: Buffer[]
  /** What the engine got. */
  readonly requests: Buffer
  /** What the client got, but BackendKeyData. */
  readonly backend: Buffer
  readonly reason: Error | undefined
}

/** Sends the pieces, each after the one before was read. */
async function replay(
  conversation: Conversation,
  pieces: Iterable<Buffer>,
  hooks: HandleConnectionOptions = {},
): Promise<Replayed> {
  const [client, stream] = duplexPair()
  const messages: Buffer[] = []
  const requests: Buffer[] = []
  const backend: Buffer[] = []
  client.on('data', (chunk: Buffer) => backend.push(chunk))
  const connection = handleConnection(stream, {
    engine: recordedEngine(conversation, requests),
    auth: 'cleartext',
    validateCredentials: (credentials) => credentials.password === 'secret',
    onMessage(message) {
      messages.push(Buffer.from(message))
      return undefined
    },
    ...hooks,
  })
  for (const piece of pieces) {
    client.write(piece)
    await new Promise(setImmediate)
  }
  const reason = await connection.closed
  return {
    messages,
    requests: Buffer.concat(requests),
    backend: withoutKey(Buffer.concat(backend)),
    reason,
  }
}

function expectAll({ messages, requests, backend }: Conversation, replayed: Replayed): void {
  // Their difference is legible in hexadecimal only, which takes longer than the replay.
  const isSame =
    Buffer.concat(replayed.messages).equals(Buffer.concat(messages)) &&
    replayed.messages.length === messages.length &&
    replayed.requests.equals(requests) &&
    replayed.backend.equals(backend) &&
    replayed.reason === undefined
  if (isSame) return
  const legible = (bytes: readonly Buffer[]): string[] => bytes.map((each) => each.toString('hex'))
  expect(legible(replayed.messages)).toEqual(legible(messages))
  expect(legible([replayed.requests])).toEqual(legible([requests]))
  expect(legible([replayed.backend])).toEqual(legible([backend]))
  expect(replayed.reason).toBeUndefined()
}

function* bytesOf(bytes: Buffer): Generator<Buffer> {
  for (let offset = 0; offset < bytes.length; offset++) yield bytes.subarray(offset, offset + 1)
}

/** Without `onMessage`, the bytes take another way through the relay. */
const NO_HOOK = { onMessage: undefined as never }
const PENDING: HandleConnectionOptions = { onReply: async () => undefined }

describe.each(
  readRecordings().map(({ client, conversations }) => [client, conversations] as const),
)('what %s has sent', (_client, conversations) => {
  it('is a whole conversation, from the startup packet to Terminate', () => {
    expect(conversations).not.toHaveLength(0)
    for (const { messages, replies } of conversations) {
      expect(messages.at(-1)!.toString('latin1')).toBe('X\0\0\0\u0004')
      expect(replies.length).toBeGreaterThan(1)
    }
  })

  const ways: [how: string, split: (bytes: Buffer) => Iterable<Buffer>][] = [
    ['in one piece', (bytes) => [bytes]],
    ['byte by byte', bytesOf],
  ]
  it.each(ways)('reaches hooks, engine and client unchanged %s', async (_how, split) => {
    for (const conversation of conversations) {
      expectAll(conversation, await replay(conversation, split(conversation.frontend)))
      const later = await replay(conversation, split(conversation.frontend), PENDING)
      expectAll(conversation, later)
      const unhooked = await replay(conversation, split(conversation.frontend), NO_HOOK)
      expectAll(conversation, { ...unhooked, messages: [...conversation.messages] })
    }
  })

  it('reaches hooks, engine and client unchanged in two pieces, wherever they are split', async () => {
    for (const conversation of conversations) {
      const { frontend } = conversation
      // Of a long one, a third of the places, which differ from message to message.
      const step = frontend.length > 1_100 ? 3 : 1
      for (let at = 1; at < frontend.length; at += step) {
        const pieces = [frontend.subarray(0, at), frontend.subarray(at)]
        expectAll(conversation, await replay(conversation, pieces))
      }
    }
  })
})
