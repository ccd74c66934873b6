/** A gateway in DSQL mode for one test file, and clients that show each reply as a line. */
import { type Gateway, type GatewayOptions, startGateway } from '../../../gateway/index.js'
import { frontend, int16, int32, text } from '../../wire/frontend-messages.js'
import { loggedIn, type RawClient, type Received } from '../raw-client.js'

export interface DsqlClient {
  readonly raw: RawClient
  /** Sends messages in one write, and resolves with all replies up to as many ReadyForQuery as the messages ask for. */
  ask(...messages: readonly (Buffer | string)[]): Promise<string[]>
  /** Sends messages, and resolves with the replies up to one that begins with `end`. */
  until(end: string, ...messages: readonly Buffer[]): Promise<string[]>
  /** Ends the session. Fails if the client has got a reply too many. */
  close(): Promise<void>
}

/** Registers the start and the end of a gateway for a test file. */
export function useDsqlGateway(options: GatewayOptions = {}): () => Gateway {
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await startGateway({ engine: 'postgres', ...options })
  })
  afterAll(async () => {
    await gateway?.close()
  })
  return () => gateway
}

/** Runs `work` with as many clients as it takes, and ends them. */
export async function withClients<T>(
  gateway: Gateway,
  work: (first: DsqlClient, second: DsqlClient, third: DsqlClient) => Promise<T>,
): Promise<T> {
  const clients = await Promise.all(
    Array.from({ length: Math.max(work.length, 1) }, () => openClient(gateway)),
  )
  try {
    const [first, second, third] = clients
    const result = await work(first!, second!, third!)
    await Promise.all(clients.map((client) => client.close()))
    return result
  } finally {
    for (const { raw } of clients) raw.socket.destroy()
  }
}

/** Logs in as `admin`, who may create tables. */
export async function openClient(gateway: Gateway, user = 'admin'): Promise<DsqlClient> {
  const raw = await loggedIn(gateway, undefined, { user })
  const read = async (isEnd: (line: string) => boolean): Promise<string[]> => {
    const lines: string[] = []
    for (;;) {
      const line = lineOf(await raw.next(...ANY))
      if (line !== undefined) lines.push(line)
      if (line !== undefined && isEnd(line)) return lines
    }
  }
  const client: DsqlClient = {
    raw,
    ask(...messages) {
      const all = messages.map((each) => (typeof each === 'string' ? query(each) : each))
      let left = all.reduce((sum, each) => sum + endsIn(each), 0)
      raw.send(...all)
      return read((line) => line.startsWith('Z ') && --left === 0)
    },
    until(end, ...messages) {
      raw.send(...messages)
      return read((line) => line.startsWith(end))
    },
    async close() {
      expect(await client.ask("SELECT 'the last reply' AS is")).toEqual([
        'T is',
        'D the last reply',
        'C SELECT 1',
        expect.stringMatching(/^Z /),
      ])
      raw.send(frontend('X'))
      expect(await raw.ended()).toEqual([])
    },
  }
  return client
}

const ANY = 'RKSZCDT123InstEGHWcdNAV'.split('')

/** How many Query and Sync messages there are. */
function endsIn(messages: Buffer): number {
  let count = 0
  for (let start = 0; start < messages.length; start += 1 + messages.readInt32BE(start + 1))
    if ('QSF'.includes(String.fromCharCode(messages[start]!))) count++
  return count
}

/** One line for a reply: its type, and what matters of it. `undefined` for what the server may send at any time. */
function lineOf({ type, body }: Received): string | undefined {
  switch (type) {
    case 'S':
    case 'N':
      return undefined
    case 'E': {
      const fields = new Map(
        body
          .toString()
          .split('\0')
          .map((field) => [field[0], field.slice(1)]),
      )
      return `E ${fields.get('C')} ${fields.get('M')}`
    }
    case 'C':
      return `C ${body.toString('utf8', 0, body.length - 1)}`
    case 'Z':
      return `Z ${body.toString()}`
    case 'T':
      return `T ${columnsIn(body).join(' ')}`
    case 'D':
      return `D ${valuesIn(body).join(' ')}`
    default:
      return type
  }
}

function columnsIn(body: Buffer): string[] {
  const names: string[] = []
  for (let left = body.readInt16BE(0), start = 2; left > 0; left--) {
    const end = body.indexOf(0, start)
    names.push(body.toString('utf8', start, end))
    start = end + 19
  }
  return names
}

function valuesIn(body: Buffer): string[] {
  const values: string[] = []
  for (let left = body.readInt16BE(0), start = 2; left > 0; left--) {
    const length = body.readInt32BE(start)
    start += 4
    values.push(length < 0 ? 'NULL' : body.toString('utf8', start, start + length))
    start += Math.max(length, 0)
  }
  return values
}

// The messages of a client.

export function query(sql: string): Buffer {
  return frontend('Q', text(sql))
}

export function parse(sql: string, name = ''): Buffer {
  return frontend('P', text(name), text(sql), int16(0))
}

/** Parameters and results are texts. */
export function bind(values: readonly string[] = [], name = '', portal = ''): Buffer {
  const encoded = values.flatMap((value) => [int32(Buffer.byteLength(value)), Buffer.from(value)])
  return frontend(
    'B',
    text(portal),
    text(name),
    int16(0),
    int16(values.length),
    ...encoded,
    int16(0),
  )
}

export function describe(kind: 'S' | 'P', name = ''): Buffer {
  return frontend('D', Buffer.from(kind), text(name))
}

/** @param maxRows 0 is no limit */
export function execute(portal = '', maxRows = 0): Buffer {
  return frontend('E', text(portal), int32(maxRows))
}

export const SYNC: Buffer = frontend('S')
export const FLUSH: Buffer = frontend('H')

/** A statement with parameters, without a Sync. */
export function run(sql: string, ...values: readonly string[]): Buffer {
  return Buffer.concat([parse(sql), bind(values), execute()])
}

/** The replies to {@link run} of a statement that returns no rows. */
export function ran(tag: string): string[] {
  return ['1', '2', `C ${tag}`]
}
