/**
 * The stream that a driver uses as its socket. One shape serves every client, through pg's `stream` option and the
 * `socket` option of Postgres.js, and it does what those clients would do badly with a password function:
 *
 * - pg leaves the socket open when a password function rejects, and Postgres.js ends the process;
 * - both ask for the password while the server's authentication timeout is running;
 * - what they do about TLS depends on URLs, environment variables and versions.
 *
 * So the driver is told to use no TLS and gets no password at all: it writes its startup packet here, and here the token is
 * made, the server is dialled, TLS is verified, and the password request is answered. The token never enters the driver.
 */
import { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Login } from '../login.js'
import type { VerifiedTls } from '../tls/verified-tls.js'
import { CANCEL_REQUEST, SSL_REQUEST } from '../wire/startup-packet.js'
import { recordConnection, type ConnectionRecord } from './connection-record.js'
import { createFirstPacket } from './first-packet.js'
import { retireWhenIdle, type IdleRetirement } from './idle-retirement.js'
import { lastWordsIn } from './last-words.js'
import { drawLifetimeSecs } from './lifetime.js'
import { openConnection, openForCancel, type OpenConnection } from './open-connection.js'
import { createSocketSettings } from './socket-settings.js'
import { brokenPipe, closedByServer, tlsTwice } from './stream-errors.js'

export interface LoginStreamOptions {
  /** Default: that of the login. */
  tls?: VerifiedTls
  /** Ends the connection once it is past its lifetime and idle. Default `false`: the pool does that. */
  retiresWhenIdle?: boolean
  /** Fails with what the server said last where the server ends the connection. Default `false`: it just ends. */
  failsWhenLost?: boolean
}

type WriteCallback = (error?: Error | null) => void

/** The stream of one physical connection. Nothing happens before the driver writes its first packet. */
export class LoginStream extends Duplex {
  readonly #login: Login
  readonly #tls: VerifiedTls
  readonly #retiresWhenIdle: boolean
  readonly #failsWhenLost: boolean
  readonly #lifetimeMs: number
  readonly #abort = new AbortController()
  readonly #settings = createSocketSettings()
  readonly #firstPacket = createFirstPacket()
  #isOpening = false
  #socket: TLSSocket | undefined
  #openedAt = Infinity
  #record: ConnectionRecord | undefined
  #retirement: IdleRetirement | undefined
  #lastChunk: Buffer = Buffer.alloc(0)
  /** Whether the driver, or we, have ended the connection. */
  #isLeaving = false
  #isEndedByServer = false

  constructor(login: Login, options: LoginStreamOptions = {}) {
    super({ allowHalfOpen: false })
    const { tls = login.tls, retiresWhenIdle = false, failsWhenLost = false } = options
    this.#login = login
    this.#tls = tls
    this.#retiresWhenIdle = retiresWhenIdle
    this.#failsWhenLost = failsWhenLost
    this.#lifetimeMs = drawLifetimeSecs(login) * 1_000
    if (failsWhenLost) this.once('end', () => this.#finish())
  }

  /** Whether the connection has reached the age at which a pool should not hand it out any more. */
  get isPastLifetime(): boolean {
    return Date.now() - this.#openedAt >= this.#lifetimeMs
  }

  /** Why the server ended the connection, or `undefined` where it has not. */
  get loss(): Error | undefined {
    const said = lastWordsIn(this.#lastChunk)
    if (said !== undefined || this.#isLeaving || !this.#isEndedByServer) return said
    return closedByServer()
  }

  /** As on a `net.Socket`. The address is the login's business; pg only waits for the event before it writes. */
  connect(): this {
    process.nextTick(() => this.emit('connect'))
    return this
  }

  /** As on a `net.Socket`: Postgres.js reads it before it says goodbye. */
  get readyState(): 'opening' | 'open' | 'closed' {
    if (this.destroyed) return 'closed'
    return this.#socket === undefined ? 'opening' : 'open'
  }

  setNoDelay(noDelay?: boolean): this {
    this.#settings.set((socket) => socket.setNoDelay(noDelay))
    return this
  }

  setKeepAlive(enable?: boolean, initialDelay?: number): this {
    this.#settings.set((socket) => socket.setKeepAlive(enable, initialDelay))
    return this
  }

  ref(): this {
    this.#settings.set((socket) => socket.ref())
    return this
  }

  unref(): this {
    this.#settings.set((socket) => socket.unref())
    return this
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: WriteCallback): void {
    if (this.#socket !== undefined) {
      this.#isLeaving ||= chunk.equals(TERMINATE)
      this.#retirement?.wrote()
      writeThrough(this.#socket, chunk, done)
      return
    }
    const firstPacket = this.#isOpening ? undefined : this.#firstPacket.push(chunk)
    if (firstPacket === undefined) {
      done()
      return
    }
    this.#isOpening = true
    this.#open(firstPacket).then(
      () => done(),
      (error: unknown) => done(error as Error),
    )
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: WriteCallback,
  ): void {
    // One TLS record for what pg corked together: Parse, Bind, Describe, Execute, Sync.
    const [first] = chunks
    const joined =
      chunks.length === 1 && first !== undefined
        ? first.chunk
        : Buffer.concat(chunks.map(({ chunk }) => chunk))
    this._write(joined, 'binary', done)
  }

  override _read(): void {
    this.#socket?.resume()
  }

  override _final(done: WriteCallback): void {
    this.#isLeaving ||= !this.#isEndedByServer
    // Without a socket nothing will ever come that could end the other side.
    if (this.#socket === undefined) this.destroy()
    else this.#socket.end()
    done()
  }

  override _destroy(error: Error | null, done: WriteCallback): void {
    this.#abort.abort()
    this.#retirement?.cancel()
    this.#socket?.destroy()
    this.#record?.closed(error ?? this.loss)
    done(error)
  }

  async #open(firstPacket: Buffer): Promise<void> {
    const startedAt = Date.now()
    const code = firstPacket.readInt32BE(4)
    if (code === SSL_REQUEST) throw tlsTwice()
    const open = code === CANCEL_REQUEST ? openForCancel : openConnection
    // The server ends that without a word once it has read the request.
    this.#isLeaving ||= code === CANCEL_REQUEST
    const request = { login: this.#login, tls: this.#tls, firstPacket, signal: this.#abort.signal }
    const connection = await open(request)
    if (this.destroyed) {
      connection.socket.destroy()
      return
    }
    if (code !== CANCEL_REQUEST && connection.refusedWith === undefined) {
      this.#openedAt = Date.now()
      this.#record = recordConnection(this.#login, connection.host, startedAt)
      if (this.#retiresWhenIdle)
        this.#retirement = retireWhenIdle(this.#lifetimeMs, () => this.#retire())
    }
    this.#attach(connection)
  }

  #attach({ socket, received }: OpenConnection): void {
    this.#socket = socket
    this.#settings.apply(socket)
    socket.on('data', (chunk: Buffer) => {
      this.#lastChunk = chunk
      this.#retirement?.received(chunk)
      if (!this.push(chunk)) socket.pause()
    })
    socket.on('end', () => {
      this.#isEndedByServer = true
      this.push(null)
    })
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.#closed())
    this.#lastChunk = received
    if (received.length > 0) this.push(received)
    // A server that refuses the login may have closed while its answer was read.
    if (socket.destroyed) this.#closed()
    else socket.resume()
  }

  /** What was received is still delivered; a driver that no longer reads would otherwise keep the stream open. */
  #closed(): void {
    if (this.destroyed) return
    this.#isEndedByServer = true
    this.#record?.closed(this.loss)
    if (!this.readableEnded && this.readableLength > 0) this.once('end', () => this.#finish())
    else setImmediate(() => this.#finish())
    this.push(null)
  }

  #finish(): void {
    this.destroy(this.#failsWhenLost ? this.loss : undefined)
  }

  /** Says goodbye as a driver would. The driver sees the end at once, so that it sends nothing to a server that is leaving. */
  #retire(): void {
    const socket = this.#socket
    this.#isLeaving = true
    this.#socket = undefined
    socket?.setTimeout(GOODBYE_MS, () => socket.destroy()).end(TERMINATE)
    this.push(null)
  }
}

const GOODBYE_MS = 5_000
const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4])

/** The callback is what holds a driver back that writes faster than the network takes. */
function writeThrough(socket: TLSSocket, chunk: Buffer, done: WriteCallback): void {
  if (socket.destroyed) done(brokenPipe())
  else socket.write(chunk, (error) => done(error))
}
