/**
 * The stream that a driver uses as its socket. One shape serves every client, through pg's `stream` option and the
 * `socket` option of Postgres.js, and it does what those clients would do badly with a password function:
 *
 * - pg leaves the socket open when a password function rejects, and Postgres.js ends the process;
 * - both ask for the password while the server's authentication timeout is running;
 * - what they do about TLS depends on URLs, environment variables and versions.
 *
 * So the driver gets no password and is to use no TLS: it writes its startup packet here, and here the token is made, the server
 * dialled, TLS verified, and the password request answered.
 */
import type { TLSSocket } from 'node:tls'
import type { Login } from '../login.js'
import type { VerifiedTls } from '../tls/verified-tls.js'
import { CANCEL_REQUEST, SSL_REQUEST } from '../wire/startup-packet.js'
import { recordConnection, type ConnectionRecord } from './connection-record.js'
import { DriverSocket, writeThrough, type WriteCallback } from './driver-socket.js'
import { createFirstPacket } from './first-packet.js'
import { isGoodbye, sayGoodbye } from './goodbye.js'
import { retireWhenIdle, type IdleRetirement } from './idle-retirement.js'
import { lastWordsError, type LastWords } from './last-words.js'
import { drawLifetimeSecs } from './lifetime.js'
import { openConnection, openForCancel, type OpenConnection } from './open-connection.js'
import { Reception } from './reception.js'
import { closedByServer, tlsTwice } from './stream-errors.js'

export interface LoginStreamOptions {
  /** Default: that of the login. */
  tls?: VerifiedTls
  /** Ends the connection once it is past its lifetime and idle. Default `false`: the pool does that. */
  retiresWhenIdle?: boolean
  /**
   * Where the server ends the connection the stream fails, of this error for what the server said last, which the driver does
   * not get to read then. Default: the driver reads it, and the stream just ends.
   */
  lossError?: (said: LastWords) => Error
  /**
   * Tells whether one of the first requests is one whose failure the client would not handle. The server's error is answered with
   * an empty result, and so is the loss of the connection, before it is told, where there is a `lossError`.
   */
  isUnattended?: (request: Buffer) => boolean
}

/** The stream of one physical connection. Nothing happens before the driver writes its first packet. */
export class LoginStream extends DriverSocket {
  readonly #login: Login
  readonly #tls: VerifiedTls
  readonly #retiresWhenIdle: boolean
  readonly #lossError: ((said: LastWords) => Error) | undefined
  readonly #lifetimeMs: number
  readonly #abort = new AbortController()
  readonly #firstPacket = createFirstPacket()
  readonly #reception: Reception
  #isOpening = false
  #socket: TLSSocket | undefined
  #openedAt = Infinity
  #record: ConnectionRecord | undefined
  #retirement: IdleRetirement | undefined
  /** Whether the driver, or we, have ended the connection. */
  #isLeaving = false
  #isEndedByServer = false
  #isEndTold = false

  constructor(login: Login, options: LoginStreamOptions = {}) {
    super()
    const { tls = login.tls, retiresWhenIdle = false, lossError, isUnattended } = options
    this.#login = login
    this.#tls = tls
    this.#retiresWhenIdle = retiresWhenIdle
    this.#lossError = lossError
    this.#reception = new Reception({ hidesLastWords: lossError !== undefined, isUnattended })
    this.#lifetimeMs = drawLifetimeSecs(login) * 1_000
    this.once('end', () => this.#finish())
  }

  /** Whether the connection has reached the age at which a pool should not hand it out any more. */
  get isPastLifetime(): boolean {
    return Date.now() - this.#openedAt >= this.#lifetimeMs
  }

  /** Why the server ended the connection, or `undefined` where it has not. */
  get loss(): Error | undefined {
    const { lastWords } = this.#reception
    if (lastWords !== undefined) return (this.#lossError ?? lastWordsError)(lastWords)
    return this.#isEndedByServer && !this.#isLeaving ? closedByServer() : undefined
  }

  /** As on a `net.Socket`: Postgres.js reads it before it says goodbye. */
  get readyState(): 'opening' | 'open' | 'closed' {
    const ofOpen = this.#socket === undefined ? 'opening' : 'open'
    return this.destroyed ? 'closed' : ofOpen
  }

  protected override get openSocket(): TLSSocket | undefined {
    return this.#isEndedByServer ? undefined : this.#socket
  }

  protected override writing(bytes: Buffer): void {
    this.#isLeaving ||= isGoodbye(bytes)
    this.#reception.sent(bytes)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: WriteCallback): void {
    if (this.#socket !== undefined) {
      this.writing(chunk)
      // The driver hears of the end in a moment, and that is what its request is to fail of.
      if (this.#isEndedByServer) done()
      else writeThrough(this.#socket, chunk, done)
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
    this.stopDirect()
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
    // The server ends a cancel request without a word.
    this.#isLeaving ||= code === CANCEL_REQUEST
    const { signal } = this.#abort
    const connection = await open({ login: this.#login, tls: this.#tls, firstPacket, signal })
    if (this.destroyed) return void connection.socket.destroy()
    if (code !== CANCEL_REQUEST && connection.refusedWith === undefined) {
      this.#openedAt = Date.now()
      this.#record = recordConnection(this.#login, connection.host, startedAt)
      if (this.#retiresWhenIdle)
        this.#retirement = retireWhenIdle(this.#lifetimeMs, this.#reception, () => this.#retire())
    }
    this.#attach(connection)
  }

  #attach({ socket, received }: OpenConnection): void {
    this.#socket = socket
    this.settings.apply(socket)
    socket.on('data', (chunk: Buffer) => {
      if (!this.#deliver(chunk)) socket.pause()
    })
    socket.on('drain', () => this.drained())
    socket.on('end', () => this.#endedByServer())
    socket.on('error', (error) => {
      if (this.#isEndedByServer) return
      this.#tellLoss()
      this.destroy(error)
    })
    socket.on('close', () => this.#closed())
    if (received.length > 0) this.#deliver(received)
    // A server that refuses the login may have closed while its answer was read.
    if (socket.destroyed) this.#closed()
    else socket.resume()
  }

  /**
   * Behind its last words the server closes. The driver is not left to wait for that: its pool would hand the connection out
   * meanwhile.
   *
   * @returns whether the driver takes more
   */
  #deliver(chunk: Buffer): boolean {
    if (this.#isEndedByServer) return true
    const told = this.#reception.received(chunk)
    const takesMore = told.length === 0 || this.deliver(told)
    if (this.#reception.lastWords !== undefined) this.#endedByServer()
    return takesMore
  }

  /**
   * Postgres.js (3.4) listens for the end of a transaction's connection some promises after the answer to BEGIN, and asks for the
   * types of a new connection in a moment in which nobody protects it. An end that comes with the answer before that would end the
   * process, or have the function of the transaction run on another connection. So it hears of the end two turns later: it writes in
   * the first.
   */
  #endedByServer(): void {
    if (this.#isEndedByServer) return
    this.#isEndedByServer = true
    this.stopDirect()
    if (this.#reception.isGoingOn) setImmediate(() => setImmediate(() => this.#tellEnd()))
    else this.#tellEnd()
  }

  #tellEnd(): void {
    this.#tellLoss()
    this.push(null)
    this.#isEndTold = true
    this.#finishUnread()
  }

  #tellLoss(): void {
    const told = this.#reception.lost()
    if (told.length > 0) this.push(told)
  }

  #closed(): void {
    if (this.destroyed) return
    this.#endedByServer()
    this.#record?.closed(this.loss)
    this.#finishUnread()
  }

  /** What was received is still delivered. A driver that no longer reads does not keep the stream open. */
  #finishUnread(): void {
    if (!this.#isEndTold || this.#socket?.closed === false) return
    if (this.readableEnded || this.readableLength === 0) setImmediate(() => this.#finish())
  }

  #finish(): void {
    this.destroy(this.#lossError === undefined ? undefined : this.loss)
  }

  /** Says goodbye as a driver would. The driver sees the end at once, so that it sends nothing to a server that is leaving. */
  #retire(): void {
    const socket = this.#socket
    this.#isLeaving = true
    this.#socket = undefined
    this.stopDirect()
    if (socket !== undefined) sayGoodbye(socket)
    this.push(null)
  }
}
