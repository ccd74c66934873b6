/** Random pipelines with hooks that answer some messages and fail for others, compared with a model of a server. */
import * as fc from 'fast-check'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Duplex, Readable } from 'node:stream'
import {
  commandComplete,
  type Engine,
  type HandleConnectionOptions,
  type HookReply,
  parseComplete,
  readyForQuery,
  upstreamEngine,
} from '../../../gateway/index.js'
import { rawClient, startup } from '../raw-client.js'
import { usePostgres } from '../upstream-gateway.js'
import { frontend, inChunks, int32, text } from '../../wire/frontend-messages.js'
import { serve, type Served } from '../connection/served.js'

const server = usePostgres(['admin', 'app'])
let engine: Engine
beforeAll(async () => {
  const { socketDirectory, port } = server.server()
  engine = await upstreamEngine({ host: socketDirectory, port })
})
afterAll(() => engine.close())

/** The engine, with its bytes in pieces of three, so that hooks run while messages are incomplete. */
const inPieces: Engine = {
  name: 'in pieces',
  async openSession(request) {
    const session = await engine.openSession(request)
    const pieces = async function* (): AsyncGenerator<Buffer> {
      for await (const chunk of session as AsyncIterable<Buffer>)
        for (let start = 0; start < chunk.length; start += 3) {
          await new Promise(setImmediate)
          yield chunk.subarray(start, start + 3)
        }
    }
    const readable = Readable.from(pieces(), { objectMode: false })
    const { processId } = session
    return Object.assign(Duplex.from({ readable, writable: session }), {
      processId,
      cancel: () => session.cancel(),
    })
  },
  close: () => engine.close(),
}

/** Messages with this text are answered by the hook, and it fails for those with the other. */
const HOOKED = 'hooked'
const FAILING = 'failing'

function onMessage(message: Uint8Array): HookReply | Promise<HookReply> {
  const content = Buffer.from(message)
  const isLater = content.length % 2 === 0
  if (content.includes(FAILING)) {
    const error = new Error(FAILING)
    if (isLater) return Promise.reject(error)
    throw error
  }
  if (!content.includes(HOOKED)) return isLater ? Promise.resolve(undefined) : undefined
  const reply =
    content[0] === 0x51 ? [commandComplete(HOOKED), readyForQuery('I')] : [parseComplete()]
  return isLater ? Promise.resolve(Buffer.concat(reply)) : inTurn(reply)
}

async function* inTurn(reply: readonly Buffer[]): AsyncGenerator<Buffer> {
  for (const bytes of reply) {
    await new Promise(setImmediate)
    yield bytes
  }
}

/** A message, or several, with the replies that a server gives outside of a failed batch. `!`: the batch fails. */
interface Step {
  readonly bytes: Buffer
  readonly replies: string
  readonly type: 'query' | 'extended' | 'sync'
}

const query = (sql: string, replies: string): Step => ({
  bytes: frontend('Q', text(sql)),
  replies,
  type: 'query',
})
const extended = (replies: string, ...bytes: readonly Buffer[]): Step => ({
  bytes: Buffer.concat(bytes),
  replies,
  type: 'extended',
})
const copyIn = (data: Buffer, replies: string): Step => ({
  bytes: Buffer.concat([frontend('Q', text('COPY c FROM STDIN')), data, frontend('c')]),
  replies,
  type: 'query',
})
const parse = (sql: string): Buffer => frontend('P', text(''), text(sql), Buffer.alloc(2))
const BIND = frontend('B', text(''), text(''), Buffer.alloc(6))
const execute = (rows: number): Buffer => frontend('E', text(''), int32(rows))
const describeOf = (kind: string): Buffer => frontend('D', Buffer.from(kind), text(''))
const THREE = parse('SELECT generate_series(1, 3)')
const ROW = frontend('d', Buffer.from('1\n'))

const step: fc.Arbitrary<Step> = fc.constantFrom(
  query('SELECT 1', 'TDCZ'),
  query('SELECT 1; SELECT 2', 'TDCTDCZ'),
  query('SELEC', 'EZ'),
  query('', 'IZ'),
  query(HOOKED, 'CZ'),
  query(`${HOOKED} `, 'CZ'),
  query(FAILING, 'EZ'),
  query(`${FAILING} `, 'EZ'),
  copyIn(ROW, 'GCZ'),
  copyIn(frontend('d', Buffer.from(FAILING)), 'GEZ'),
  copyIn(frontend('d', Buffer.from('no number\n')), 'GEZ'),
  query('COPY (VALUES (1), (2)) TO STDOUT', 'HddcCZ'),
  { bytes: frontend('S'), replies: 'Z', type: 'sync' },
  { bytes: frontend('S'), replies: 'Z', type: 'sync' },
  extended('', frontend('H')),
  extended('12DDDC', THREE, BIND, execute(0)),
  extended('12DDsDC', THREE, BIND, execute(2), execute(0)),
  extended('1tT2T', THREE, describeOf('S'), BIND, describeOf('P')),
  extended('12n', parse('SET work_mem = 65536'), BIND, describeOf('P')),
  extended('12I', parse(''), BIND, execute(0)),
  extended('12GC', parse('COPY c FROM STDIN'), BIND, execute(0), ROW, frontend('c')),
  extended('3', frontend('C', Buffer.from('P'), text('none'))),
  extended('1', parse(HOOKED)),
  extended('1', parse(`${HOOKED} `)),
  extended('E!', parse('SELEC')),
  extended('E!', frontend('E', text('none'), int32(0))),
  extended('E!', parse(FAILING)),
  extended('E!', parse(`${FAILING} `)),
)

/** The replies of a server that ignores all messages after an error in the extended protocol, up to the Sync. */
function expectedReplies(steps: readonly Step[]): string {
  let replies = ''
  let hasFailed = false
  for (const each of steps) {
    if (each.type === 'sync') hasFailed = false
    if (hasFailed) continue
    replies += each.replies.replace('!', '')
    hasFailed = each.replies.endsWith('!')
  }
  return replies
}

const setups: [what: string, options: () => HandleConnectionOptions, runs: number][] = [
  ['from onMessage', () => ({ engine }), 25],
  ['also through onReply', () => ({ engine, onReply: async () => undefined }), 25],
  ['also in pieces', () => ({ engine: inPieces }), 15],
]
it.each(setups)(
  'the replies to any pipeline are those of a server, %s',
  async (_what, own, numRuns) => {
    const served: Served = await serve({ onMessage, ...own() })
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 12 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        async (pipeline, cuts) => {
          const socket = connect({ port: served.port, host: '127.0.0.1', noDelay: true })
          await once(socket, 'connect')
          const client = rawClient(socket)
          client.send(startup({ user: 'app', database: 'postgres' }))
          await client.next('Z')
          client.send(query('CREATE TEMP TABLE c (v int)', '').bytes)
          await client.next('Z')
          const steps = [...pipeline, { bytes: frontend('S'), replies: 'Z', type: 'sync' as const }]
          const bytes = Buffer.concat([...steps.map((each) => each.bytes), frontend('X')])
          for (const chunk of inChunks(bytes, cuts)) {
            client.send(chunk)
            await new Promise(setImmediate)
          }
          const all = await client.ended()
          // PostgreSQL's own, sometimes: a Query in a batch of the extended protocol, and then another statement.
          fc.pre(
            !all.some(({ body }) => body.includes('StartTransactionCommand: unexpected state')),
          )
          const got = all.map(({ type }) => type).join('')
          expect(got.replaceAll(/[SN]/g, '')).toBe(expectedReplies(steps))
          expect(await served.connections.at(-1)!.closed).toBeUndefined()
        },
      ),
      { numRuns },
    )
    await served.close()
  },
)
