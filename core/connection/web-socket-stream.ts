/**
 * A WebSocket as a byte stream, for both sides: the bytes of PostgreSQL's protocol in binary messages, which may begin and end anywhere.
 *
 * It uses the interface that browsers, Node's own WebSocket and `ws` (8) share, and what only `ws` has where that is there: to stop
 * reading, and to end a connection at once.
 */
import type { Socket } from 'node:net'
import { PgIamError } from '../errors.js'
import { SocketLayer } from './socket-layer.js'

/** The part of a WebSocket that the stream uses. */
export interface WebSocketLike {
  binaryType: string
  readonly readyState: number
  /** Bytes that `send` has taken, and that are not with the network yet. Cloudflare's Workers do not have it. */
  readonly bufferedAmount?: number
  /** Only `ws` calls back, when the message is with the network. */
  send(data: Uint8Array, sent?: (error?: Error) => void): void
  close(code?: number, reason?: string): void
  addEventListener(type: string, listener: (event: never) => void): void
  /** Only `ws` has these. */
  pause?(): void
  resume?(): void
  terminate?(): void
}

export interface WebSocketStreamOptions {
  /** What is at the other end, for messages. */
  peer: string
  /** The socket below a WebSocket of `ws`. */
  below?: Socket
  /** Called for each message that is received or sent. */
  onMessage?: () => void
  /** The maximum number of bytes that nobody has read, where reading can't be stopped. Default 16 MiB. */
  maxUnreadBytes?: number
}

/** The stream of one WebSocket, which may still be connecting. It ends when the peer closes the WebSocket with the code 1000. */
export class WebSocketStream extends SocketLayer {
  readonly #socket: WebSocketLike
  readonly #peer: string
  readonly #maxUnreadBytes: number
  readonly #onMessage: () => void
  #opening: ((error?: Error) => void) | undefined
  /** Resolves when the WebSocket is open. Rejects if it closes before. */
  readonly opened: Promise<void>
  #lastError: Error | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Must be called when what was written is with the network, or never will be. */
  #unsent: ((error?: Error) => void) | undefined
  #hasClosed = false
  #closing: (() => void) | undefined

  constructor(
    socket: WebSocketLike,
    {
      peer,
      below,
      maxUnreadBytes = MAX_UNREAD_BYTES,
      onMessage = () => {},
    }: WebSocketStreamOptions,
  ) {
    super(below, { allowHalfOpen: false, writableHighWaterMark: HIGH_WATER_MARK })
    this.#socket = socket
    this.#peer = peer
    this.#maxUnreadBytes = maxUnreadBytes
    this.#onMessage = onMessage
    socket.binaryType = 'arraybuffer'
    this.opened =
      socket.readyState === OPEN
        ? Promise.resolve()
        : new Promise((resolve, reject) => {
            this.#opening = (error) => (error === undefined ? resolve() : reject(error))
          })
    // The stream emits the error, too.
    this.opened.catch(() => {})
    socket.addEventListener('open', () => {
      this.#opening?.()
      this.#opening = undefined
    })
    socket.addEventListener('message', ({ data }: { data: unknown }) => this.#receive(data))
    socket.addEventListener('error', ({ error }: { error?: Error }) => {
      this.#lastError = error
      // Chromium (156) closes one that the page's content security policy forbids, and fires no "close" for it.
      if (socket.readyState >= CLOSING) setTimeout(() => this.#closed(ABNORMAL, ''), NO_CLOSE_MS)
    })
    socket.addEventListener('close', (event: { code: number; reason: string }) =>
      this.#closed(event.code, event.reason),
    )
  }

  #receive(data: unknown): void {
    if (this.destroyed) return
    this.#onMessage()
    if (typeof data === 'string') {
      this.#fail(UNSUPPORTED_DATA, `${this.#peer} sent a text message in a WebSocket`)
      return
    }
    if (this.push(Buffer.from(data as ArrayBuffer))) return
    if (this.#socket.pause !== undefined) this.#socket.pause()
    else if (this.readableLength > this.#maxUnreadBytes)
      this.#fail(
        POLICY_VIOLATION,
        `${this.#peer} sent ${this.readableLength} bytes that were not read in time`,
        'A WebSocket of a browser cannot be paused. Read large results with a cursor, or in parts.',
      )
  }

  #fail(code: number, message: string, hint?: string): void {
    const error = new PgIamError('ERR_PROTOCOL', message, hint === undefined ? {} : { hint })
    try {
      this.#socket.close(code)
    } catch {
      // Browsers let pages close with 1000 and with 3000 to 4999 only.
      this.#socket.close(NORMAL)
    }
    this.destroy(error)
  }

  #closed(code: number, reason: string): void {
    if (this.#hasClosed) return
    this.#hasClosed = true
    this.#closing?.()
    const failure = this.#closeError(code, reason)
    this.#opening?.(failure ?? closedInLogin())
    this.#opening = undefined
    if (failure !== undefined && !this.writableFinished) {
      // What was received is read first.
      if (this.readableLength === 0) this.destroy(failure)
      else this.once('end', () => this.destroy(failure)).push(null)
      return
    }
    this.push(null)
  }

  /**
   * A lost connection has the code of a network error, as over TCP. What is no loss is a `PgIamError`: a WebSocket that did not open, and a
   * peer that objects to what was sent.
   */
  #closeError(code: number, reason: string): Error | undefined {
    if (code === NORMAL) return undefined
    const cause = this.#lastError
    const why = cause?.message ?? (reason === '' ? CLOSE_CODES[code] : reason)
    const what = this.#opening === undefined ? 'closed' : 'did not open'
    const shown = [`the WebSocket to ${this.#peer} ${what} (code ${code}`, why && `: ${why}`, ')']
    const message = shown.filter(Boolean).join('')
    const error =
      this.#opening !== undefined
        ? new PgIamError('ERR_CONNECT_FAILED', message, { cause, retryable: true })
        : OBJECTIONS.has(code)
          ? new PgIamError('ERR_PROTOCOL', message, { cause })
          : Object.assign(new Error(message, { cause }), { code: codeOf(cause) ?? 'ECONNRESET' })
    return Object.assign(error, { closeCode: code })
  }

  override _read(): void {
    this.#socket.resume?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.opened.then(() => this.#send(chunk, done), done)
  }

  #send(chunk: Buffer, done: (error?: Error) => void): void {
    if (this.#socket.readyState !== OPEN) {
      done(closedConnection())
      return
    }
    this.#unsent = (error) => {
      if (this.#unsent === undefined) return
      this.#unsent = undefined
      done(error)
    }
    const isOfWs = this.#socket.terminate !== undefined
    for (let at = 0; at < chunk.length; at += MAX_MESSAGE_BYTES) {
      const message = chunk.subarray(at, at + MAX_MESSAGE_BYTES)
      if (isOfWs && at + MAX_MESSAGE_BYTES >= chunk.length) this.#socket.send(message, this.#unsent)
      else this.#socket.send(message)
    }
    this.#onMessage()
    if (!isOfWs) this.#whenSent(this.#unsent)
  }

  /** No event says that `bufferedAmount` has decreased. */
  #whenSent(done: () => void, waitMs = 1): void {
    const { bufferedAmount = 0 } = this.#socket
    if (bufferedAmount <= MAX_BUFFERED_BYTES || this.destroyed) done()
    else this.#timer = setTimeout(() => this.#whenSent(done, Math.min(2 * waitMs, 50)), waitMs)
  }

  override _final(done: (error?: Error) => void): void {
    this.#close(done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer)
    this.#unsent?.(error ?? closedConnection())
    this.#close(() => {})
    this.#socket.resume?.()
    this.#socket.terminate?.()
    this.#opening?.(error ?? closedInLogin())
    this.#opening = undefined
    done(error)
  }

  #close(done: () => void): void {
    if (this.#hasClosed || this.#socket.readyState === CLOSED) {
      done()
      return
    }
    // The peer may never answer.
    const timer = setTimeout(() => this.#closing?.(), CLOSE_MS)
    this.#closing = () => {
      clearTimeout(timer)
      this.#closing = undefined
      done()
    }
    this.#socket.close(NORMAL)
  }
}

/** Resolves with the stream when its WebSocket is open, or rejects with why it is not. The stream is then destroyed, also if `signal` aborts. */
export async function whenOpen(
  stream: WebSocketStream,
  signal: AbortSignal,
): Promise<WebSocketStream> {
  const abandon = (): void => void stream.destroy()
  signal.addEventListener('abort', abandon, { once: true })
  // The caller gets the error from `opened` until then. Without a listener, the event would end the process.
  stream.on('error', () => {})
  try {
    if (signal.aborted) abandon()
    await stream.opened
    return stream
  } catch (error) {
    stream.destroy()
    throw signal.aborted ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', abandon)
  }
}

const OPEN = 1
const CLOSING = 2
const CLOSED = 3
const NORMAL = 1000
const ABNORMAL = 1006
const UNSUPPORTED_DATA = 1003
const POLICY_VIOLATION = 1008
const HIGH_WATER_MARK = 64 * 1024
/** Without a callback there are timers, so that more has to be on its way. */
const MAX_BUFFERED_BYTES = 1024 * 1024
const MAX_UNREAD_BYTES = 16 * 1024 * 1024
/** Servers limit the size of messages, usually to more than this. */
const MAX_MESSAGE_BYTES = 1024 * 1024
/** How long "close" may come after "error". */
const NO_CLOSE_MS = 100
/** How long a peer may take to answer a close. */
const CLOSE_MS = 2_000

function codeOf(error: unknown): unknown {
  return (Object(error) as { code?: unknown }).code
}

/** https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1: protocol error, unsupported data, invalid data, policy violation, message too big. */
const OBJECTIONS: ReadonlySet<number> = new Set([1002, 1003, 1007, 1008, 1009])

const CLOSE_CODES: Readonly<Record<number, string>> = {
  1001: 'going away',
  1002: 'protocol error',
  1003: 'unsupported data',
  1005: 'no reason given',
  1006: 'the connection was lost, or refused',
  1007: 'invalid data',
  1008: 'policy violation',
  1009: 'message too big',
  1011: 'internal error',
  1012: 'the service restarts',
  1013: 'try again later',
  1015: 'the TLS handshake failed',
}

function closedConnection(): Error {
  return Object.assign(new Error('the connection is closed'), { code: 'EPIPE' })
}

function closedInLogin(): Error {
  return Object.assign(new Error('the server closed the connection during login'), {
    code: 'ECONNRESET',
  })
}
