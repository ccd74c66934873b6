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
import { PgIamError } from '../errors.js'
import type { Login } from '../login.js'
import type { VerifiedTls } from '../tls/verified-tls.js'
import { CANCEL_REQUEST, SSL_REQUEST } from '../wire/startup-packet.js'
import { recordConnection, type ConnectionRecord } from './connection-record.js'
import { retireWhenIdle, type IdleRetirement } from './idle-retirement.js'
import { drawLifetimeSecs } from './lifetime.js'
import { openConnection, openForCancel, type OpenConnection } from './open-connection.js'

export interface LoginStreamOptions {
  /** Default: that of the login. */
  tls?: VerifiedTls
  /** Ends the connection once it is past its lifetime and idle. Default `false`: the pool does that. */
  retiresWhenIdle?: boolean
}

type WriteCallback = (error?: Error | null) => void

/** The stream of one physical connection. Nothing happens before the driver writes its first packet. */
export class LoginStream extends Duplex {
  readonly #login: Login
  readonly #tls: VerifiedTls
  readonly #retiresWhenIdle: boolean
  readonly #lifetimeMs: number
  readonly #abort = new AbortController()
  /** What the driver asked of its socket before there was one. */
  readonly #wishes: ((socket: TLSSocket) => void)[] = []
  #firstPacket: Buffer = Buffer.alloc(0)
  #isOpening = false
  #socket: TLSSocket | undefined
  #openedAt = Infinity
  #record: ConnectionRecord | undefined
  #retirement: IdleRetirement | undefined

  constructor(login: Login, { tls = login.tls, retiresWhenIdle = false }: LoginStreamOptions = {}) {
    super({ allowHalfOpen: false })
    this.#login = login
    this.#tls = tls
    this.#retiresWhenIdle = retiresWhenIdle
    this.#lifetimeMs = drawLifetimeSecs(login) * 1_000
  }

  /** Whether the connection has reached the age at which a pool should not hand it out any more. */
  get isPastLifetime(): boolean {
    return Date.now() - this.#openedAt >= this.#lifetimeMs
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
    return this.#wish((socket) => socket.setNoDelay(noDelay))
  }

  setKeepAlive(enable?: boolean, initialDelay?: number): this {
    return this.#wish((socket) => socket.setKeepAlive(enable, initialDelay))
  }

  ref(): this {
    return this.#wish((socket) => socket.ref())
  }

  unref(): this {
    return this.#wish((socket) => socket.unref())
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: WriteCallback): void {
    if (this.#socket !== undefined) {
      this.#retirement?.wrote()
      writeThrough(this.#socket, chunk, done)
      return
    }
    this.#firstPacket = Buffer.concat([this.#firstPacket, chunk])
    if (this.#isOpening || !isWhole(this.#firstPacket)) {
      done()
      return
    }
    this.#isOpening = true
    this.#open(this.#firstPacket).then(
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
    // Without a socket nothing will ever come that could end the other side.
    if (this.#socket === undefined) this.destroy()
    else this.#socket.end()
    done()
  }

  override _destroy(error: Error | null, done: WriteCallback): void {
    this.#abort.abort()
    this.#retirement?.cancel()
    this.#socket?.destroy()
    this.#record?.closed(error ?? undefined)
    done(error)
  }

  async #open(firstPacket: Buffer): Promise<void> {
    const startedAt = Date.now()
    const code = firstPacket.readInt32BE(4)
    if (code === SSL_REQUEST) throw tlsTwice()
    const open = code === CANCEL_REQUEST ? openForCancel : openConnection
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
    for (const wish of this.#wishes.splice(0)) wish(socket)
    socket.on('data', (chunk: Buffer) => {
      this.#retirement?.received(chunk)
      if (!this.push(chunk)) socket.pause()
    })
    socket.on('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.#closed())
    if (received.length > 0) this.push(received)
    // A server that refuses the login may have closed while its answer was read.
    if (socket.destroyed) this.#closed()
    else socket.resume()
  }

  /** What was received is still delivered; a driver that no longer reads would otherwise keep the stream open. */
  #closed(): void {
    if (this.destroyed) return
    if (!this.readableEnded && this.readableLength > 0) this.once('end', () => this.destroy())
    else setImmediate(() => this.destroy())
    this.push(null)
  }

  /** Says goodbye as a driver would, and lets the server close. */
  #retire(): void {
    this.#socket?.end(TERMINATE)
  }

  #wish(wish: (socket: TLSSocket) => void): this {
    if (this.#socket === undefined) this.#wishes.push(wish)
    else wish(this.#socket)
    return this
  }
}

const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4])

function isWhole(packet: Buffer): boolean {
  return packet.length >= 8 && packet.length >= packet.readInt32BE(0)
}

/** The callback is what holds a driver back that writes faster than the network takes. */
function writeThrough(socket: TLSSocket, chunk: Buffer, done: WriteCallback): void {
  if (socket.destroyed)
    done(Object.assign(new Error('the connection is closed'), { code: 'EPIPE' }))
  else socket.write(chunk, (error) => done(error))
}

function tlsTwice(): PgIamError {
  return new PgIamError(
    'ERR_OPTION_CONFLICT',
    'the client is set to do TLS itself, on a connection that has it already',
    {
      hint: 'Leave "ssl" out of the client\'s options: the login brings verified TLS.',
    },
  )
}
