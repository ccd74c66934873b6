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
import { HEADER_BYTES } from '../../wire/messages.js'
import { publish } from '../events.js'
import { internalsOf, type Login } from '../login.js'
import type { VerifiedTls } from '../tls.js'
import {
  type BackendKey,
  BackendTracker,
  type BootstrapQuery,
  type FatalError,
  fatalErrorOf,
  READY_IDLE,
} from './backend-tracker.js'
import type { OpenedConnection } from './connect-limiter.js'
import { closedByServer, DriverSocket, type WriteCallback, writeThrough } from './driver-socket.js'
import { type OpenConnection, parseFirstPacket } from './open-connection.js'

/** How the stream of a connection is to behave towards its driver. */
interface LoginStreamOptions {
  /** Default: that of the login. */
  tls?: VerifiedTls
  /** The startup parameters that the driver's options give, in lower case; the login's beat all others. Default: all that it sends. */
  given?: readonly string[]
  /**
   * Makes the error with which the stream fails where the server ends the connection with a FATAL error, which the driver does not
   * get to read then. Default: the driver reads it, and the stream just ends.
   */
  lossError?: (error: FatalError) => Error
  /** Is asked about the first requests, for those whose failure the client does not handle. */
  bootstrapQuery?: BootstrapQuery
}

/** The stream of one physical connection. Nothing happens before the driver writes its first packet. */
export class LoginStream extends DriverSocket {
  /** As on a connected `net.Socket`. Postgres.js (3.4) names them in its CONNECT_TIMEOUT. */
  readonly host: string
  readonly port: number
  readonly #login: Login
  readonly #options: LoginStreamOptions
  readonly #lifetimeMs: number
  readonly #abort = new AbortController()
  readonly #firstPacket = createFirstPacketReader()
  readonly #tracker: BackendTracker
  #isOpening = false
  #socket: TLSSocket | undefined
  #openedAt = Infinity
  #record: ConnectionRecord | undefined
  #pace: OpenedConnection | undefined
  /** Whether the driver has ended the connection. */
  #isClosing = false
  /** Whether the server has, or the network. */
  #isLost = false
  #lossCause: Error | undefined
  #isEndEmitted = false
  #hasServed = false
  #hasUnsent = false

  constructor(login: Login, options: LoginStreamOptions = {}) {
    super()
    this.host = login.host
    this.port = login.port
    this.#login = login
    this.#options = options
    this.#tracker = new BackendTracker({
      hidesFatalError: options.lossError !== undefined,
      bootstrapQuery: options.bootstrapQuery,
    })
    this.#lifetimeMs = jitteredLifetimeSecs(login) * 1_000
    this.once('end', () => this.#finish())
  }

  /** Whether the connection has reached the age at which a pool should not hand it out any more. */
  get isPastLifetime(): boolean {
    return Date.now() - this.#openedAt >= this.#lifetimeMs
  }

  /** The BackendKeyData of its session; `undefined` before the login is over, and where the server gives none. */
  get backendKey(): BackendKey | undefined {
    return this.#tracker.backendKey
  }

  /**
   * Gives the driver the ReadyForQuery of an idle session once more, for one that decides then what becomes of its connection. To be
   * called when nothing is in flight, and not while the driver reads.
   *
   * @returns `false`, with nothing done, where the session is within a transaction
   */
  repeatReady(): boolean {
    if (!this.#tracker.isOutsideTransaction || this.#isLost || this.destroyed) return false
    this.deliver(READY_IDLE)
    return true
  }

  /** Why the connection was lost, or `undefined` where it was not. */
  get loss(): Error | undefined {
    const { fatalError, violation } = this.#tracker
    if (violation !== undefined) return violation
    if (fatalError !== undefined) return (this.#options.lossError ?? fatalErrorOf)(fatalError)
    if (!this.#isLost || this.#isClosing) return undefined
    return this.#lossCause ?? closedByServer()
  }

  /** Whether the driver has written something that was not sent, because the connection was lost before. */
  get hasUnsent(): boolean {
    return this.#hasUnsent
  }

  protected override get openSocket(): TLSSocket | undefined {
    return this.#isLost ? undefined : this.#socket
  }

  protected override writing(bytes: Buffer): void {
    this.#tracker.sent(bytes)
    if (this.#tracker.isTerminated) this.#beginClosing()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: WriteCallback): void {
    if (this.#socket !== undefined) {
      this.writing(chunk)
      // The driver learns of the loss next, and its request fails with that.
      if (this.#isLost) {
        this.#hasUnsent = true
        done()
      } else writeThrough(this.#socket, chunk, done)
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
    if (!this.#isLost) this.#beginClosing()
    // Without a socket nothing will ever come that could end the other side.
    if (this.#socket === undefined) this.destroy()
    else this.#socket.end()
    done()
  }

  override _destroy(error: Error | null, done: WriteCallback): void {
    this.stopDirect()
    this.#abort.abort()
    this.#socket?.destroy()
    this.#record?.closed(error ?? this.loss)
    done(error)
  }

  /** Pools of pg do not wait for the end of their connections, but the login counts none that was told to end. */
  #beginClosing(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#record?.closing()
  }

  async #open(firstPacket: Buffer): Promise<void> {
    const startedAt = Date.now()
    const { open, isForCancel } = parseFirstPacket(firstPacket)
    // The server closes the connection of a cancel request without a reply.
    this.#isClosing ||= isForCancel
    const [login, { signal }] = [this.#login, this.#abort]
    const { tls = login.tls, given } = this.#options
    const connection = await open({ login, tls, given, firstPacket, signal })
    if (this.destroyed) return void connection.socket.destroy()
    if (!isForCancel && connection.refusedWith === undefined) {
      this.#openedAt = Date.now()
      this.#record = recordConnection(login, connection.host, startedAt)
      this.#pace = internalsOf(login)?.connectLimiter.opened()
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
    socket.on('end', () => this.#lose())
    socket.on('error', (error) => this.#lose(error))
    socket.on('close', () => this.#closed())
    if (received.length > 0) this.#deliver(received)
    // A server that refuses the login may have closed while its answer was read.
    if (socket.destroyed) this.#closed()
    else socket.resume()
  }

  /**
   * Behind a FATAL error the server closes the connection. The driver is not left to wait for that: its pool would hand the
   * connection out meanwhile. @returns whether the driver takes more
   */
  #deliver(chunk: Buffer): boolean {
    if (this.#isLost) return true
    const tracker = this.#tracker
    const bytes = tracker.received(chunk)
    if (!this.#hasServed && tracker.hasAnswered) this.#serve()
    const takesMore = bytes.length === 0 || this.deliver(bytes)
    if (tracker.violation !== undefined) this.#lose(tracker.violation)
    else if (tracker.fatalError !== undefined) this.#lose()
    else if (tracker.hasFailedBootstrap && tracker.isReady) this.end()
    return takesMore
  }

  /** A server that answers is one to go on connecting to. */
  #serve(): void {
    this.#hasServed = true
    this.#pace?.served()
  }

  /**
   * Ends the stream, with an error where there is one.
   *
   * Postgres.js (3.4) attaches its close handler to the connection of a transaction some promises after the reply to BEGIN, and runs
   * its query for types before any error handler exists. An end that comes with the reply before that would end the process, or
   * have the function of the transaction run on another connection. So it learns of the end two turns later: it writes in the first.
   */
  #lose(error?: Error): void {
    if (this.#isLost) return
    this.#isLost = true
    this.#lossCause = error
    this.#record?.closing()
    this.stopDirect()
    if (!this.#hasServed && !this.#isClosing) this.#pace?.dropped()
    if (this.#tracker.hasYetToAct) setImmediate(() => setImmediate(() => this.#end(error)))
    else this.#end(error)
  }

  #end(error: Error | undefined): void {
    const bytes = this.#tracker.lost()
    if (bytes.length > 0) this.push(bytes)
    if (error !== undefined) {
      this.destroy(error)
      return
    }
    this.push(null)
    this.#isEndEmitted = true
    this.#finishUnread()
  }

  #closed(): void {
    if (this.destroyed) return
    this.#lose()
    this.#record?.closed(this.loss)
    this.#finishUnread()
  }

  /** What was received is still delivered. A driver that no longer reads does not keep the stream open. */
  #finishUnread(): void {
    if (!this.#isEndEmitted || this.#socket?.closed === false) return
    if (this.readableEnded || this.readableLength === 0) setImmediate(() => this.#finish())
  }

  #finish(): void {
    this.destroy(this.#options.lossError === undefined ? undefined : this.loss)
  }
}

interface FirstPacketReader {
  /** Takes what the driver wrote. Returns its first packet once that is whole. */
  push(chunk: Buffer): Buffer | undefined
}

/**
 * Creates the finder. What stands in front of the packet is dropped: where a connection dies while a statement waits to be
 * written, Postgres.js (3.4) keeps the statement, and writes it in front of the startup packet of the slot's next connection.
 * A packet without a type byte begins with the high byte of its length, which is 0, and no message does.
 */
export function createFirstPacketReader(): FirstPacketReader {
  let pending: Buffer = Buffer.alloc(0)
  return {
    push(chunk) {
      pending = Buffer.concat([pending, chunk])
      while (pending.length >= HEADER_BYTES && pending[0] !== 0) {
        const length = 1 + pending.readInt32BE(1)
        if (length < HEADER_BYTES || pending.length < length) return undefined
        pending = pending.subarray(length)
      }
      const isWhole =
        pending.length >= SMALLEST_PACKET_BYTES && pending.length >= pending.readInt32BE(0)
      return isWhole ? pending : undefined
    },
  }
}

/** Length and code. */
const SMALLEST_PACKET_BYTES = 8

// Counts and reports one physical connection.

interface ConnectionRecord {
  /** Is to be called when either side begins to close the connection: it does not count as open from then on. */
  closing(): void
  closed(error?: Error): void
}

/** Records that a connection of `login` to `host` logged in, which began to be opened at `startedAt`. */
function recordConnection(login: Login, host: string, startedAt: number): ConnectionRecord {
  const internals = internalsOf(login)
  const { provider } = login
  const identity = { provider, host, user: login.user, connectionId: nextConnectionId++ }
  const openedAt = Date.now()
  let isCounted = true
  let isOpen = true
  const report = internals?.report ?? publish
  internals?.connectionOpened()
  report('pg-iam:connection.opened', () => ({ ...identity, elapsedMs: openedAt - startedAt }))
  const closing = (): void => {
    if (isCounted) internals?.connectionClosed()
    isCounted = false
  }
  return {
    closing,
    closed(error) {
      if (!isOpen) return
      isOpen = false
      closing()
      report('pg-iam:connection.retired', () => ({
        ...identity,
        ageMs: Date.now() - openedAt,
        ...(error === undefined ? {} : { error }),
      }))
    },
  }
}

let nextConnectionId = 1

// How old a connection may become.

/**
 * Draws the age, in seconds, at which one connection is to be replaced: from four fifths of the login's `maxLifetimeSecs` up to
 * all of it; `Infinity` without one. Connections that were opened together would otherwise be replaced together, in every process of
 * a fleet at once.
 */
export function jitteredLifetimeSecs(
  { maxLifetimeSecs = Infinity }: Login,
  random: () => number = Math.random,
): number {
  return maxLifetimeSecs * (1 - LIFETIME_JITTER * random())
}

/** The part of a lifetime that is left to chance. */
const LIFETIME_JITTER = 0.2

// The function that a client calls for the socket of each physical connection.

/**
 * Returns the factory for the `stream` or `socket` option of a client. Whoever holds the client's options finds the login by it.
 */
export function createStreamFactory(
  login: Login,
  options: LoginStreamOptions = {},
): () => LoginStream {
  return markWithLogin(() => new LoginStream(login, options), login)
}

/** Marks a function that the caller hands to a client with the login that it is for, as factories are. */
export function markWithLogin<T extends (...args: never[]) => unknown>(mark: T, login: Login): T {
  return Object.defineProperty(mark, LOGIN, { value: login })
}

/** The login that a factory, or a function marked as one, is for, or `undefined` for anything else. */
export function loginOfFactory(factory: unknown): Login | undefined {
  return typeof factory === 'function' ? (factory as { [LOGIN]?: Login })[LOGIN] : undefined
}

/** Tells whether a `pg.Client` runs on a stream of ours that has reached its age. */
export function isPastLifetime(client: unknown): boolean {
  return streamOf(client).isPastLifetime === true
}

/** Why the server ended the connection of a `pg.Client` on a stream of ours, or `undefined` where it has not. */
export function lossOf(client: unknown): Error | undefined {
  return streamOf(client).loss
}

/** By what they have in common, because the stream may be of the package's other copy. */
function streamOf(client: unknown): Partial<Pick<LoginStream, 'isPastLifetime' | 'loss'>> {
  const { connection } = (client ?? {}) as { connection?: { stream?: object } }
  return connection?.stream ?? {}
}

const LOGIN: unique symbol = Symbol.for('pg-iam.login') as never
