/**
 * The stream that a driver uses as its socket. All clients use it, through pg's `stream` option or the `socket` option of Postgres.js. With
 * a password function instead, these clients have problems:
 *
 * - pg leaves the socket open when a password function rejects, and Postgres.js ends the process;
 * - both call it while the server's authentication timeout is running;
 * - their TLS settings depend on URLs, environment variables and versions.
 *
 * So the driver gets no password and uses no TLS. When it writes its startup packet to this stream, the stream gets a token, dials the
 * server, verifies TLS, and answers the password request.
 */
import { HEADER_BYTES } from '../../wire/messages.js'
import { PgIamError } from '../errors.js'
import { publish } from '../events.js'
import { internalsOf, type Login } from '../login.js'
import { describeValue } from '../options/check.js'
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
import {
  closedByServer,
  DriverSocket,
  tlsTwice,
  type WriteCallback,
  writeThrough,
} from './driver-socket.js'
import type { Dial } from './log-in.js'
import { type OpenConnection, parseFirstPacket } from './open-connection.js'
import type { ConnectionSocket } from './socket-layer.js'

/** How the stream behaves towards its driver. */
export interface LoginStreamOptions {
  /** Default: the login's. */
  tls?: VerifiedTls
  /** The startup parameters that the driver's options give, in lower case. The login's override all others. Default: all that it sends. */
  given?: readonly string[]
  /**
   * Creates the error to fail with when the server ends the connection with a FATAL error. The driver then does not receive that error.
   * Default: the driver receives it, and the stream ends without an error.
   */
  lossError?: (error: FatalError) => Error
  /** Classifies the first requests: the client does not handle a failure of its bootstrap queries. */
  bootstrapQuery?: BootstrapQuery
  /**
   * Makes the driver's current query fail. For a client that does not handle the end of a connection either until its bootstrap queries are
   * answered: if the connection is lost before that, this is called, and the stream neither ends nor fails.
   */
  failQuery?: (error: Error) => void
  /** Opens the verified connection. Default: TLS over TCP. */
  dial?: Dial
  /** Puts a stream between the driver and the server, once the connection has logged in. */
  through?: (connection: OpenConnection) => Promise<OpenConnection>
}

/** The stream of one physical connection. It does nothing until the driver writes its first packet. */
export class LoginStream extends DriverSocket {
  /** As on a connected `net.Socket`. Postgres.js (3.4) has them in its CONNECT_TIMEOUT error. */
  readonly host: string
  readonly port: number
  readonly #login: Login
  readonly #options: LoginStreamOptions
  readonly #lifetimeMs: number
  readonly #abort = new AbortController()
  readonly #firstPacket = createFirstPacketReader()
  readonly #tracker: BackendTracker
  #isOpening = false
  #socket: ConnectionSocket | undefined
  #openedAt = Infinity
  #record: ConnectionRecord | undefined
  #pace: OpenedConnection | undefined
  /** Whether the driver has ended the connection. */
  #isClosing = false
  /** Whether the server or the network has ended the connection. */
  #isLost = false
  #lossCause: Error | undefined
  #isEndEmitted = false
  /** Whether the connection was lost without the driver's knowledge, see `failQuery`. */
  #isAbandoned = false
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

  /** Whether the connection has reached the age at which a pool should no longer hand it out. */
  get isPastLifetime(): boolean {
    return Date.now() - this.#openedAt >= this.#lifetimeMs
  }

  /** The BackendKeyData of the session; `undefined` before the login is complete, and if the server sends none. */
  get backendKey(): BackendKey | undefined {
    return this.#tracker.backendKey
  }

  /**
   * Sends the driver the ReadyForQuery of an idle session once more, for drivers that release or close the connection on that message. Must
   * only be called when no request is in progress, and not while the driver is reading.
   *
   * @returns `false`, without any effect, if the session is in a transaction
   */
  repeatReady(): boolean {
    if (!this.#tracker.isOutsideTransaction || this.#isLost || this.destroyed) return false
    this.deliver(READY_IDLE)
    return true
  }

  /** Why the connection was lost, or `undefined` if it was not. */
  get loss(): Error | undefined {
    const { fatalError, violation } = this.#tracker
    if (violation !== undefined) return violation
    if (fatalError !== undefined) return (this.#options.lossError ?? fatalErrorOf)(fatalError)
    if (!this.#isLost || this.#isClosing) return undefined
    return this.#lossCause ?? closedByServer()
  }

  /** Whether the driver has written data that was not sent, because the connection was already lost. */
  get hasUnsent(): boolean {
    return this.#hasUnsent
  }

  protected override refuseHost(host: string | undefined): Error | undefined {
    return host === undefined || isServerOf(this.#login, host)
      ? undefined
      : otherServer(this.#login, host)
  }

  protected override get openSocket(): ConnectionSocket | undefined {
    return this.#isLost ? undefined : this.#socket
  }

  protected override writing(bytes: Buffer): void {
    this.#tracker.sent(bytes)
    if (this.#tracker.isTerminated) this.#beginClosing()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: WriteCallback): void {
    if (this.#socket !== undefined) {
      this.writing(chunk)
      // The driver is notified of the loss next, and its request fails with that error.
      if (this.#isLost) {
        this.#hasUnsent = true
        done()
      } else writeThrough(this.#socket, chunk, done)
      return
    }
    if (!this.#isOpening && this.#firstPacket.isTls(chunk)) {
      done(tlsTwice())
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
    // Without a socket no event would ever end the readable side.
    if (this.#socket === undefined || this.#isAbandoned) this.destroy()
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

  /** pg's pools do not wait for their connections to close, so the login stops counting a connection as soon as closing starts. */
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
    const { tls = login.tls, given, dial } = this.#options
    const opened = await open({ login, tls, given, firstPacket, dial, signal })
    const isSession = !isForCancel && opened.refusedWith === undefined
    const connection =
      isSession && this.#options.through !== undefined
        ? await this.#options.through(opened)
        : opened
    if (this.destroyed) return void connection.socket.destroy()
    if (isSession) {
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
    // A server that rejects the login may have closed the socket while its reply was read.
    if (socket.destroyed) this.#closed()
    else socket.resume()
  }

  /**
   * After a FATAL error the server closes the connection. The driver is notified without waiting for that, since its pool would hand out
   * the connection in the meantime. @returns whether the driver can take more
   */
  #deliver(chunk: Buffer): boolean {
    if (this.#isLost) return true
    const tracker = this.#tracker
    const bytes = tracker.received(chunk)
    if (!this.#hasServed && tracker.hasAnswered) this.#serve()
    const takesMore = bytes.length === 0 || this.deliver(bytes)
    if (tracker.violation !== undefined) this.#lose(tracker.violation)
    else if (tracker.fatalError !== undefined) this.#lose()
    else if (tracker.hasFailedBootstrap && tracker.isReady) this.#endBootstrap()
    return takesMore
  }

  /** The first reply: the connect limiter need not slow down. */
  #serve(): void {
    this.#hasServed = true
    this.#pace?.served()
  }

  /**
   * Ends the stream, with an error if there is one.
   *
   * Postgres.js (3.4) attaches its close handler to a transaction's connection a few microtasks after the reply to BEGIN, and runs its
   * query for types before any error handler exists. If the stream ended together with the reply, the process would end, or the
   * transaction's function would run on another connection. So the end is delayed by two event-loop turns; the driver writes in the first.
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

  /** After a failed bootstrap query. */
  #endBootstrap(): void {
    if (this.#options.failQuery === undefined) this.end()
    else this.#lose()
  }

  #end(error: Error | undefined): void {
    const { failQuery } = this.#options
    const isAbandoned = failQuery !== undefined && this.#tracker.isBootstrapping
    const bytes = this.#tracker.lost()
    if (bytes.length > 0) this.push(bytes)
    if (isAbandoned) {
      this.#isAbandoned = true
      const { fatalError, hasFailedBootstrap } = this.#tracker
      if (fatalError === undefined && !hasFailedBootstrap) failQuery(error ?? closedByServer())
      this.#socket?.destroy()
      return
    }
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

  /** Received data is still delivered. A driver that no longer reads does not keep the stream open. */
  #finishUnread(): void {
    if (!this.#isEndEmitted || this.#socket?.closed === false) return
    if (this.readableEnded || this.readableLength === 0) setImmediate(() => this.#finish())
  }

  #finish(): void {
    this.destroy(this.#options.lossError === undefined ? undefined : this.loss)
  }
}

// The server that the driver was configured for.

/**
 * Whether a driver that is configured with `host` may get a connection of the login. A library may pass one socket function to the pools of
 * several servers, such as a writer and its replicas (Payload's `readReplicas`), and all of them would then silently use the login's.
 *
 * A driver without a host passes pg's default, `localhost`, or `PGHOST`: these mean no particular server.
 */
function isServerOf({ host, hosts = [host], connectTo }: Login, requested: string): boolean {
  const own = [...hosts, connectTo?.host, process.env['PGHOST']]
  const name = comparable(requested)
  return NO_SERVER.test(name) || own.some((one) => one !== undefined && comparable(one) === name)
}

/** No name, `localhost`, a loopback address, or the directory of a Unix socket. */
const NO_SERVER = /^$|^localhost$|^127\.|^::1$|^\//

/** Host names are not case-sensitive, and may end with a dot. */
function comparable(host: string): string {
  return host.toLowerCase().replace(/\.$/, '')
}

function otherServer({ host }: Login, requested: string): PgIamError {
  return new PgIamError(
    'ERR_OPTION_CONFLICT',
    `the client is configured to connect to ${describeValue(requested)}, but its socket function belongs to a login for ${describeValue(host)}`,
    {
      hint: 'Use the options of a login for its server only. If a library adds the address of a replica to them, remove that replica.',
    },
  )
}

interface FirstPacketReader {
  /** Whether the driver starts TLS directly with `chunk`. */
  isTls(chunk: Buffer): boolean
  /** Takes what the driver wrote. Returns its first packet once that is complete. */
  push(chunk: Buffer): Buffer | undefined
}

/**
 * Creates the reader. Bytes before the packet are dropped: if a connection is lost while a statement waits to be written, Postgres.js (3.4)
 * keeps the statement and writes it before the startup packet of its next connection. A packet without a type byte starts with the high
 * byte of its length, which is 0. No message starts with 0.
 */
export function createFirstPacketReader(): FirstPacketReader {
  let pending: Buffer = Buffer.alloc(0)
  return {
    isTls: (chunk) => (pending.length > 0 ? pending : chunk)[0] === TLS_RECORD,
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

/** The first byte of a TLS handshake. No message has this type. */
const TLS_RECORD = 0x16

// Counts and reports a physical connection.

interface ConnectionRecord {
  /** Must be called when either side starts to close the connection, which then no longer counts as open. */
  closing(): void
  closed(error?: Error): void
}

/** Records that a connection of `login` to `host` has logged in. `startedAt` is when opening began. */
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

// The maximum age of connections.

/**
 * Returns a random maximum age for one connection, in seconds: from four fifths of the login's `maxLifetimeSecs` up to all of it;
 * `Infinity` without a limit. Without jitter, connections that were opened together would be replaced together, in every process of a fleet
 * at once.
 */
export function jitteredLifetimeSecs(
  { maxLifetimeSecs = Infinity }: Login,
  random: () => number = Math.random,
): number {
  return maxLifetimeSecs * (1 - LIFETIME_JITTER * random())
}

/** The random part of a lifetime. */
const LIFETIME_JITTER = 0.2

// The socket function of a client, called for each physical connection.

/** Returns the function for the `stream` or `socket` option of a client. `loginOfFactory` finds the login by this function. */
export function createStreamFactory(
  login: Login,
  options: LoginStreamOptions = {},
): () => LoginStream {
  return markWithLogin(() => new LoginStream(login, options), login)
}

/** Marks a function that is passed to a client with its login, as stream factories are. */
export function markWithLogin<T extends (...args: never[]) => unknown>(mark: T, login: Login): T {
  return Object.defineProperty(mark, LOGIN, { value: login })
}

/** The login of a stream factory or a marked function, or `undefined` for any other value. */
export function loginOfFactory(factory: unknown): Login | undefined {
  return typeof factory === 'function' ? (factory as { [LOGIN]?: Login })[LOGIN] : undefined
}

/** Whether a `pg.Client` uses a login stream that has reached its maximum age. */
export function isPastLifetime(client: unknown): boolean {
  return streamOf(client).isPastLifetime === true
}

/** Why the server ended the connection of a `pg.Client` on a login stream, or `undefined` if it has not. */
export function lossOf(client: unknown): Error | undefined {
  return streamOf(client).loss
}

/** By structure, not class: the stream may come from the package's other copy. */
function streamOf(client: unknown): Partial<Pick<LoginStream, 'isPastLifetime' | 'loss'>> {
  const { connection } = (client ?? {}) as { connection?: { stream?: object } }
  return connection?.stream ?? {}
}

const LOGIN: unique symbol = Symbol.for('pg-iam.login') as never
