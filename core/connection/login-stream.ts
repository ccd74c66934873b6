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
import { recordConnection, type ConnectionRecord } from './connection-record.js'
import { DriverSocket, writeThrough, type WriteCallback } from './driver-socket.js'
import { createFirstPacket } from './first-packet.js'
import { isGoodbye, sayGoodbye } from './goodbye.js'
import {
  activityOf,
  handOver,
  isStreamHolder,
  type HandedOver,
  type StreamHolder,
} from './hand-over.js'
import { retireWhenIdle, type IdleRetirement } from './idle-retirement.js'
import { lastWordsError } from './last-words.js'
import { drawLifetimeSecs } from './lifetime.js'
import type { LoginStreamOptions } from './login-stream-options.js'
import { openerOf, type OpenConnection } from './open-connection.js'
import { Reception } from './reception.js'
import { closedByServer } from './stream-errors.js'

/** The stream of one physical connection. Nothing happens before the driver writes its first packet. */
export class LoginStream extends DriverSocket {
  readonly #login: Login
  readonly #options: LoginStreamOptions
  readonly #lifetimeMs: number
  readonly #abort = new AbortController()
  readonly #firstPacket = createFirstPacket()
  readonly #reception: Reception
  #isOpening = false
  #socket: TLSSocket | undefined
  readonly #holder: StreamHolder | undefined
  #handedOver: HandedOver | undefined
  #openedAt = Infinity
  #record: ConnectionRecord | undefined
  #retirement: IdleRetirement | undefined
  /** Whether the driver, or we, have ended the connection. */
  #isLeaving = false
  #isEndedByServer = false
  #isEndTold = false

  /** @param holder whoever keeps the stream: where that is pg's connection, it is given the socket as soon as it can be */
  constructor(login: Login, options: LoginStreamOptions = {}, holder?: unknown) {
    super()
    const { lossError, isUnattended } = options
    this.#login = login
    this.#options = options
    this.#holder = isStreamHolder(holder) ? holder : undefined
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
    if (lastWords !== undefined) return (this.#options.lossError ?? lastWordsError)(lastWords)
    return this.#isEndedByServer && !this.#isLeaving ? closedByServer() : undefined
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
    const { open, isForCancel } = openerOf(firstPacket)
    // The server ends a cancel request without a word.
    this.#isLeaving ||= isForCancel
    const [login, { signal }] = [this.#login, this.#abort]
    const { tls = login.tls } = this.#options
    const connection = await open({ login, tls, firstPacket, signal })
    if (this.destroyed) return void connection.socket.destroy()
    if (!isForCancel && connection.refusedWith === undefined) {
      this.#openedAt = Date.now()
      this.#record = recordConnection(login, connection.host, startedAt)
      const activity = activityOf(this.#reception, () => this.#handedOver)
      if (this.#options.retiresWhenIdle === true)
        this.#retirement = retireWhenIdle(this.#lifetimeMs, activity, () => this.#retire())
    }
    this.#attach(connection)
  }

  #attach({ socket, received }: OpenConnection): void {
    this.#socket = socket
    this.settings.apply(socket)
    const deliver = (chunk: Buffer): void => {
      if (!this.#deliver(chunk)) socket.pause()
      if (this.#holder !== undefined) this.#handOver(this.#holder, socket, deliver)
    }
    socket.on('data', deliver)
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

  /** Only when nothing is on its way, in either direction, and the driver reads what comes as it is. */
  #handOver(holder: StreamHolder, socket: TLSSocket, deliver: (chunk: Buffer) => void): void {
    const reception = this.#reception
    if (this.#isLeaving || !reception.isPlain || !this.isDirect) return
    const counts = this.#retirement !== undefined
    const heardLast = (): void => this.#endedByServer()
    this.#handedOver = handOver({
      holder,
      stream: this,
      socket,
      deliver,
      reception,
      counts,
      heardLast,
    })
  }

  /**
   * Behind its last words the server closes. The driver is not left to wait for that: its pool would hand the connection out
   * meanwhile. @returns whether the driver takes more
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
    this.#isLeaving ||= this.#handedOver?.hasLeft === true
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
    this.destroy(this.#options.lossError === undefined ? undefined : this.loss)
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
