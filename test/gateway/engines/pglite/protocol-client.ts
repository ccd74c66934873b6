/** A protocol client for a session of an engine, without a gateway. */
import type { Engine, EngineSession } from '../../../../gateway/engines/engine.js'
import { createMessageReader } from '../../../../wire/framing.js'
import { frontend, int16, int32, text } from '../../../wire/frontend-messages.js'

export interface Reply {
  type: string
  body: Buffer
}

/** The messages up to and including a ReadyForQuery. */
export interface Answer {
  rows: (string | null)[][]
  tags: string[]
  errors: { severity: string; code: string; message: string; hint: string | undefined }[]
  /** All message types, in order. */
  types: string
  /** `I`, `T` or `E`. */
  status: string
}

export interface ProtocolClient {
  readonly session: EngineSession
  send(...messages: readonly Buffer[]): void
  /** Resolves with the messages up to the next ReadyForQuery. Rejects if the session ends before. */
  answer(): Promise<Answer>
  /** Sends a simple query and waits for its reply. */
  query(sql: string): Promise<Answer>
  /** The only value of the only row. Throws the error if there is one. */
  value(sql: string): Promise<string | null>
  /** Resolves with the next message of the type, which `answer` then omits. Notifications are returned only here. */
  next(type: string): Promise<Reply>
  /** The number of received notifications that `next` has not returned. */
  readonly unread: number
  /** Resolves with the remaining messages when the session has ended. */
  ended(): Promise<Answer>
  /** Sends a Terminate, and waits for the end. */
  leave(): Promise<void>
}

export async function connect(
  engine: Engine,
  role = 'app',
  parameters: Record<string, string> = {},
  database = 'postgres',
): Promise<ProtocolClient> {
  const session = await engine.openSession({
    role,
    database,
    parameters: new Map(Object.entries(parameters)),
  })
  const client = createProtocolClient(session)
  await client.answer()
  return client
}

export function createProtocolClient(session: EngineSession): ProtocolClient {
  const reader = createMessageReader(2 ** 30)
  const replies: Reply[] = []
  const notifications: Reply[] = []
  let isOver = false
  let wake = (): void => {}
  session.on('data', (chunk: Buffer) => {
    for (const { type, bytes } of reader.push(chunk)) {
      const reply = { type: String.fromCharCode(type), body: bytes.subarray(5) }
      ;(reply.type === 'A' ? notifications : replies).push(reply)
    }
    wake()
  })
  session.on('end', () => {
    isOver = true
    wake()
  })
  const until = async <T>(take: () => T | undefined): Promise<T> => {
    for (;;) {
      const taken = take()
      if (taken !== undefined) return taken
      if (isOver) throw new Error(`the session ended: ${JSON.stringify(summarise(replies))}`)
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  const upTo = (type: string): number => replies.findIndex((reply) => reply.type === type)
  const client: ProtocolClient = {
    session,
    send(...messages) {
      session.write(Buffer.concat(messages))
    },
    answer: async () =>
      summarise(
        await until(() => {
          const end = upTo('Z')
          return end === -1 ? undefined : replies.splice(0, end + 1)
        }),
      ),
    query(sql) {
      client.send(query(sql))
      return client.answer()
    },
    async value(sql) {
      const { rows, errors } = await client.query(sql)
      const [error] = errors
      if (error !== undefined) throw new Error(`${error.code} ${error.message}`)
      return rows[0]?.[0] ?? null
    },
    next: (type) =>
      until(() => {
        if (type === 'A') return notifications.shift()
        const place = upTo(type)
        return place === -1 ? undefined : replies.splice(place, 1)[0]
      }),
    get unread() {
      return notifications.length
    },
    async ended() {
      while (!isOver) await new Promise<void>((resolve) => (wake = resolve))
      return summarise(replies)
    },
    async leave() {
      session.end()
      await client.ended()
    },
  }
  return client
}

export function query(sql: string): Buffer {
  return frontend('Q', text(sql))
}

export function parse(name: string, sql: string): Buffer {
  return frontend('P', text(name), text(sql), int16(0))
}

export function bind(
  statement: string,
  values: readonly (string | Buffer)[] = [],
  portal = '',
): Buffer {
  const parameters = values.map((value) => Buffer.from(value)).flatMap((v) => [int32(v.length), v])
  return frontend(
    'B',
    ...[text(portal), text(statement), int16(0), int16(values.length), ...parameters, int16(0)],
  )
}

export function execute(rows = 0, portal = ''): Buffer {
  return frontend('E', text(portal), int32(rows))
}

export const SYNC: Buffer = frontend('S')
export const FLUSH: Buffer = frontend('H')

export function closeStatement(name: string): Buffer {
  return frontend('C', Buffer.from('S'), text(name))
}

export function describeStatement(name: string): Buffer {
  return frontend('D', Buffer.from('S'), text(name))
}

function summarise(replies: readonly Reply[]): Answer {
  const of = (type: string): Buffer[] =>
    replies.filter((reply) => reply.type === type).map(({ body }) => body)
  return {
    rows: of('D').map(columns),
    tags: of('C').map((body) => body.toString('utf8', 0, body.length - 1)),
    errors: of('E').map(errorFields),
    types: replies.map(({ type }) => type).join(''),
    status: of('Z').at(-1)?.toString() ?? '',
  }
}

function columns(body: Buffer): (string | null)[] {
  let offset = 2
  return Array.from({ length: body.readInt16BE(0) }, () => {
    const length = body.readInt32BE(offset)
    offset += 4
    if (length === -1) return null
    offset += length
    return body.toString('utf8', offset - length, offset)
  })
}

function errorFields(body: Buffer): Answer['errors'][number] {
  const fields = new Map(
    body
      .toString()
      .split('\0')
      .map((field) => [field[0], field.slice(1)]),
  )
  const of = (code: string): string => fields.get(code) ?? ''
  return { severity: of('V'), code: of('C'), message: of('M'), hint: fields.get('H') }
}
