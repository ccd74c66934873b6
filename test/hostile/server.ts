/**
 * A PostgreSQL server that behaves correctly except as a scenario defines. It runs in the client's process: data that it writes is read
 * after a turn of the event loop, so cuts need no delays.
 */
import { createHmac, pbkdf2Sync } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import { cString, message } from '../core/support/backend-messages.js'
import { createByteReader, type ByteReader } from '../core/support/byte-reader.js'
import { createAuthority, type KeyPair } from '../core/support/certificates.js'
import { UNAUTHENTICATED, type Phase, type Scenario } from './scenario.js'

export const HOST = 'hostile.example.com'
export const USER = 'app'
export const DATABASE = 'shop'
export const PASSWORD = 'a token that is no JWT'

export interface HostileServer {
  readonly port: number
  readonly ca: string
  /** Plays the scenario on new connections, and resets the counters. */
  play(scenario: Scenario): void
  /** Behaves correctly on new connections. */
  heal(): void
  /** Resolves when the actions of a scenario on an idle connection are done and read. */
  untilInjected(): Promise<void>
  /** Destroys the connections of the scenario. */
  breakHostile(): void
  readonly counts: Counts
  openConnections(): number
  /** Destroys all connections. */
  reset(): void
  close(): Promise<void>
}

export interface Counts {
  logins: number
  /** On the first connection. */
  passwords: number
  pouredBytes: number
  isReused: boolean
  isReached: boolean
}

export async function startHostileServer(): Promise<HostileServer> {
  const authority = await createAuthority()
  const keys = await authority.issue(HOST)
  const open = new Set<Socket>()
  const stage: Stage = {
    scenario: undefined,
    played: 0,
    counts: newCounts(),
    hostile: new Set(),
    injected: deferred(),
  }
  const server = createServer({ noDelay: true }, (socket) => {
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => void open.delete(socket))
    serve(socket, keys, stage).catch(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cutOff = (sockets: Iterable<Socket>): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    ca: authority.ca,
    play(scenario) {
      stage.scenario = scenario
      stage.played = 0
      stage.counts = newCounts()
      stage.hostile.clear()
      stage.injected = deferred()
    },
    heal: () => void (stage.scenario = undefined),
    untilInjected: () => stage.injected.promise,
    breakHostile: () => cutOff(stage.hostile),
    get counts() {
      return stage.counts
    },
    openConnections: () => open.size,
    reset: () => cutOff(open),
    async close() {
      cutOff(open)
      server.close()
      await once(server, 'close')
    },
  }
}

/** State that all connections share. */
interface Stage {
  scenario: Scenario | undefined
  /** The connections on which the scenario was played. */
  played: number
  counts: Counts
  readonly hostile: Set<Socket>
  injected: { promise: Promise<void>; resolve: () => void }
}

function newCounts(): Counts {
  return { logins: 0, passwords: 0, pouredBytes: 0, isReused: false, isReached: false }
}

function deferred(): Stage['injected'] {
  let resolve!: () => void
  const promise = new Promise<void>((given) => (resolve = given))
  return { promise, resolve }
}

/** After this number of turns of the event loop, the client has read and processed what was written. */
const TURNS = 3

async function turns(count = TURNS): Promise<void> {
  for (let left = count; left > 0; left--) await turn()
}

const WRITTEN_BYTES = 1 << 16

/** More than a client may ever buffer. */
const MOST_POURED_BYTES = 64 << 20

async function serve(raw: Socket, keys: KeyPair, stage: Stage): Promise<void> {
  const hello = createByteReader(raw)
  const first = await hello.read(1)
  hello.release()
  raw.unshift(first)
  const isDirect = first[0] === TLS_HANDSHAKE
  if (!isDirect) {
    const request = createByteReader(raw)
    await request.packet()
    request.release()
    raw.write('S')
  }
  const noAlpn = stage.scenario?.directWithoutAlpn === true
  const alpn = isDirect && !noAlpn ? { ALPNProtocols: ['postgresql'] } : {}
  const socket = new TLSSocket(raw, { ...keys, isServer: true, ...alpn })
  socket.on('error', () => {})
  socket.on('close', () => raw.destroy())
  if (noAlpn) stage.counts.isReached = true
  await once(socket, 'secure')
  const connection = new Connection(raw, socket, stage)
  await connection.logIn()
  await connection.answerRequests()
}

const TLS_HANDSHAKE = 0x16

class Connection {
  readonly #raw: Socket
  readonly #socket: TLSSocket
  readonly #stage: Stage
  readonly #reader: ByteReader
  /** The scenario of this connection, until it was played. */
  #scenario: Scenario | undefined
  #wasHostile = false
  #isMute = false
  #countsPasswords: boolean
  #status = 'I'
  #isFirstRequest = true
  readonly #statements = new Map<string, string>()
  #bound = { text: '', values: [] as string[] }
  #replies: Buffer[] = []
  #clientNonce = CLIENT_NONCE

  constructor(raw: Socket, socket: TLSSocket, stage: Stage) {
    this.#raw = raw
    this.#socket = socket
    this.#stage = stage
    this.#reader = createByteReader(socket)
    const { scenario } = stage
    const isPlayed =
      scenario !== undefined && (scenario.connections === 'all' || stage.played === 0)
    this.#scenario = isPlayed ? scenario : undefined
    this.#countsPasswords = stage.played === 0
    if (isPlayed) stage.played++
  }

  async logIn(): Promise<void> {
    const isScram = this.#scenario?.scram === true
    await this.#reader.packet()
    if (isScram) await this.#askByScram()
    else {
      await this.#reply(['startup'], [message('R', 3)])
      await this.#password()
      this.#stage.counts.logins++
      await this.#reply(['password', 'greeting'], [message('R', 0), ...GREETING])
    }
  }

  async #askByScram(): Promise<void> {
    const offer = message('R', 10, cString('SCRAM-SHA-256'), Buffer.from([0]))
    await this.#reply(['startup'], [offer])
    const initial = (await this.#password()).toString('utf8', 5)
    const clientFirst = initial.slice(initial.indexOf('n,,') + 3)
    this.#clientNonce = /r=([^,]+)/.exec(clientFirst)?.[1] ?? ''
    const serverFirst = `r=${this.#clientNonce}0123456789,s=${SALT.toString('base64')},i=${ITERATIONS}`
    await this.#reply(['sasl'], [message('R', 11, serverFirst)])
    const final = (await this.#password()).toString('utf8', 5)
    const withoutProof = final.slice(0, final.indexOf(',p='))
    const exchange = [clientFirst, serverFirst, withoutProof].join()
    const signature = hmac(SERVER_KEY, exchange).toString('base64')
    this.#stage.counts.logins++
    const proof = message('R', 12, `v=${signature}`)
    await this.#reply(['sasl-final'], [proof, message('R', 0), ...GREETING])
  }

  async answerRequests(): Promise<void> {
    for (;;) {
      const request = await this.#reader.message()
      const type = String.fromCharCode(request[0]!)
      const body = request.subarray(5)
      if (type === 'X') return void this.#socket.end()
      if (type === 'Q') await this.#simple(textAt(body, 0))
      else if (type === 'P') this.#parse(body)
      else if (type === 'B') this.#bind(body)
      else if (type === 'D') this.#replies.push(...this.#described(body))
      else if (type === 'E') this.#replies.push(...this.#run(this.#bound.text, this.#bound.values))
      else if (type === 'C') this.#replies.push(message('3'))
      else if (type === 'H') await this.#flush('describe', [])
      else if (type === 'S') await this.#flush('extended', [this.#ready()])
    }
  }

  async #simple(text: string): Promise<void> {
    const statements = text.split(';').filter((statement) => statement.trim() !== '')
    const replies = statements.flatMap((statement) => [
      ...rowDescription(statement),
      ...this.#run(statement, []),
    ])
    await this.#reply([...this.#first(), ...phasesOf(text)], [...replies, this.#ready()])
    if (text.includes("'asked'") && this.#scenario?.phase === 'idle') {
      await turns(2 * TURNS)
      await this.#reply(['idle'], [])
      await turns()
      this.#stage.injected.resolve()
    }
  }

  #parse(body: Buffer): void {
    const name = textAt(body, 0)
    this.#statements.set(name, textAt(body, name.length + 1))
    this.#bound = { text: this.#statements.get(name)!, values: [] }
    this.#replies.push(message('1'))
  }

  #bind(body: Buffer): void {
    const portal = textAt(body, 0)
    const name = textAt(body, portal.length + 1)
    let offset = portal.length + name.length + 2
    offset += 2 + 2 * body.readUInt16BE(offset)
    const values: string[] = []
    let left = body.readUInt16BE(offset)
    offset += 2
    for (; left > 0; left--) {
      const length = body.readInt32BE(offset)
      values.push(body.toString('utf8', offset + 4, offset + 4 + length))
      offset += 4 + length
    }
    this.#bound = { text: this.#statements.get(name) ?? '', values }
    this.#replies.push(message('2'))
  }

  #described(body: Buffer): Buffer[] {
    const isStatement = body[0] === 'S'.charCodeAt(0)
    const text = isStatement ? (this.#statements.get(textAt(body, 1)) ?? '') : this.#bound.text
    const parameters = text.includes('$1') ? message('t', int16(1), 25) : message('t', int16(0))
    const [rows = message('n')] = rowDescription(text)
    return isStatement ? [parameters, rows] : [rows]
  }

  async #flush(phase: Phase, more: Buffer[]): Promise<void> {
    const replies = [...this.#replies, ...more]
    this.#replies = []
    const { text } = this.#bound
    const own = text.includes('/* extended */') ? [phase] : phasesOf(text)
    const hasAsked = replies.length > more.length
    await this.#reply(hasAsked ? [...this.#first(), ...own] : [], replies)
  }

  /** The reply to a statement, without the description of its rows. */
  #run(text: string, values: readonly string[]): Buffer[] {
    if (/^\s*(?:begin|start transaction)/i.test(text)) return this.#completed('T', 'BEGIN')
    if (/^\s*commit/i.test(text)) return this.#completed('I', 'COMMIT')
    if (/^\s*rollback\s*$/i.test(text)) return this.#completed('I', 'ROLLBACK')
    if (/^\s*set\b/i.test(text)) return this.#completed(this.#status, 'SET')
    if (/^\s*copy/i.test(text))
      return [
        message('H', Buffer.from([0]), int16(1), int16(0)),
        message('d', 'row 1\n'),
        message('d', 'row 2\n'),
        message('c'),
        message('C', cString('COPY 2')),
      ]
    const columns = columnsOf(text)
    if (columns.length === 0) return this.#completed(this.#status, 'SELECT 0')
    if (text.includes("'next'")) this.#stage.counts.isReused ||= this.#wasHostile
    const row = rowOf(text, values)
    const cells = row.flatMap((value) => [value.length, value])
    return [message('D', int16(row.length), ...cells), message('C', cString('SELECT 1'))]
  }

  #completed(status: string, tag: string): Buffer[] {
    this.#status = status
    return [message('C', cString(tag))]
  }

  #ready(): Buffer {
    return message('Z', this.#status)
  }

  #first(): Phase[] {
    const isFirst = this.#isFirstRequest
    this.#isFirstRequest = false
    return isFirst ? ['first'] : []
  }

  async #password(): Promise<Buffer> {
    const password = await this.#reader.message()
    if (this.#countsPasswords) this.#stage.counts.passwords++
    return password
  }

  async #reply(phases: readonly Phase[], messages: readonly Buffer[]): Promise<void> {
    const scenario = this.#scenario
    if (this.#isMute) return
    if (scenario === undefined || scenario.directWithoutAlpn || !phases.includes(scenario.phase))
      return this.#writeAll(Buffer.concat(messages))
    this.#scenario = undefined
    this.#wasHostile = true
    this.#stage.hostile.add(this.#raw)
    this.#stage.counts.isReached = true
    const before = Buffer.concat(messages.slice(0, scenario.after))
    const after = messages.slice(scenario.after)
    const bytes = withNonce(Buffer.from(scenario.bytes, 'base64'), this.#clientNonce)
    const stream = Buffer.concat([before, bytes, ...(scenario.rest ? after : [])])
    for (const piece of piecesOf(stream, before.length, scenario)) {
      this.#socket.write(piece)
      await turns()
    }
    if (scenario.repeat !== undefined)
      await this.#pour(Buffer.from(scenario.repeat.bytes, 'base64'), scenario.repeat.pauseMs)
    if (scenario.afterwards === 'end') this.#socket.end()
    if (scenario.afterwards === 'destroy') this.#raw.destroy()
    this.#isMute = scenario.afterwards === 'mute'
    // A client that answered the replaced request gets the correct one now.
    if (
      !UNAUTHENTICATED.includes(scenario.phase) ||
      scenario.rest ||
      scenario.afterwards !== 'stay'
    )
      return
    await this.#password()
    this.#socket.write(Buffer.concat(after))
  }

  /** Large data is written as fast as the client reads, without a queue in this process. */
  async #writeAll(bytes: Buffer): Promise<void> {
    for (let sent = 0; sent < bytes.length && !this.#socket.destroyed; sent += WRITTEN_BYTES)
      if (
        !this.#socket.write(bytes.subarray(sent, sent + WRITTEN_BYTES)) &&
        bytes.length > WRITTEN_BYTES
      )
        await this.#drained()
  }

  async #drained(): Promise<void> {
    const left = new AbortController()
    const { signal } = left
    const events = ['drain', 'close'].map((event) => once(this.#socket, event, { signal }))
    await Promise.race(events).catch(() => {})
    left.abort()
    await Promise.allSettled(events)
  }

  async #pour(bytes: Buffer, pauseMs: number): Promise<void> {
    const { counts } = this.#stage
    while (!this.#socket.destroyed && counts.pouredBytes < MOST_POURED_BYTES) {
      const takesMore = this.#socket.write(bytes)
      counts.pouredBytes += bytes.length
      if (pauseMs > 0) await delay(pauseMs)
      else if (takesMore) await turn()
      else await this.#drained()
    }
  }
}

/** Placeholder for the client's nonce, which is not known before. It has the length of all clients' nonces. */
export const CLIENT_NONCE = 'the nonce of the client.'

function withNonce(bytes: Buffer, nonce: string): Buffer {
  const at = bytes.indexOf(CLIENT_NONCE)
  if (at >= 0) bytes.write(nonce, at, CLIENT_NONCE.length, 'latin1')
  return bytes
}

function piecesOf(stream: Buffer, start: number, { cuts, fractions }: Scenario): Buffer[] {
  const places = [
    ...cuts.map((cut) => start + cut),
    ...fractions.map((fraction) => Math.floor(fraction * stream.length)),
  ].filter((place) => place > 0 && place < stream.length)
  const sorted = [...new Set(places)].toSorted((one, other) => one - other)
  const ends = [...sorted, stream.length]
  const pieces = ends.map((end, index) => stream.subarray(sorted[index - 1] ?? 0, end))
  return pieces.filter(({ length }) => length > 0)
}

export const GREETING: readonly Buffer[] = [
  message('S', cString('server_version'), cString('16.4')),
  message('S', cString('client_encoding'), cString('UTF8')),
  message('K', 4711, 1234),
  message('Z', 'I'),
]

const SALT = Buffer.from('0123456789abcdef')
const ITERATIONS = 4_096
const SERVER_KEY = hmac(pbkdf2Sync(PASSWORD, SALT, ITERATIONS, 32, 'sha256'), 'Server Key')

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** The kind of a statement for scenarios. */
function phasesOf(text: string): Phase[] {
  if (/^\s*(?:begin|start transaction)/i.test(text)) return ['begin']
  if (/^\s*commit/i.test(text)) return ['commit']
  if (/^\s*copy/i.test(text)) return ['copy']
  if (text.includes("'inside'")) return ['inside']
  return text.includes("'asked'") ? ['simple'] : []
}

/** A word whose reply has this number of bytes. */
export const largeWord = (bytes: number): string => `large ${bytes}`
const LARGE_WORD = /'large (\d+)'/

/** By the names in the clients' own queries. */
function columnsOf(text: string): string[] {
  if (text.includes('pg_range')) return ['typname', 'typtype', 'oid', 'typarray']
  if (text.includes('typelem')) return ['oid', 'typarray']
  if (text.includes('pg_database')) return ['?column?']
  if (/version\(\)|server_version/i.test(text)) return ['version']
  if (text.includes('current_schema')) return ['current_schema']
  return / AS v\b/.test(text) ? ['v'] : []
}

function rowOf(text: string, values: readonly string[]): string[] {
  if (text.includes('pg_range')) return ['int4', 'b', '23', '1007']
  if (text.includes('typelem')) return ['16', '1000']
  if (text.includes('pg_database')) return ['1']
  if (/version\(\)|server_version/i.test(text)) return ['PostgreSQL 16.4 on x86_64']
  if (text.includes('current_schema')) return ['public']
  const large = LARGE_WORD.exec(text)?.[1]
  if (large !== undefined) return ['x'.repeat(Number(large))]
  return [/SELECT '(\w*)'/.exec(text)?.[1] ?? values[0] ?? '']
}

function rowDescription(text: string): Buffer[] {
  const columns = columnsOf(text)
  if (columns.length === 0) return []
  return [message('T', int16(columns.length), ...columns.map(columnOf))]
}

export function columnOf(name: string): Buffer {
  const type = Buffer.concat([int32(0), int16(0), int32(25), int16(-1), int32(-1), int16(0)])
  return Buffer.concat([cString(name), type])
}

function textAt(body: Buffer, start: number): string {
  return body.toString('utf8', start, body.indexOf(0, start))
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value & 0xffff)
  return bytes
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value | 0)
  return bytes
}
