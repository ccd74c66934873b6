/** The part of a `net.Socket`'s interface that drivers rely on, beyond a stream's. */
import { Duplex } from 'node:stream'
import { PgIamError } from '../errors.js'
import { isPlainObject } from '../options/check.js'
import type { ConnectionSocket } from './socket-layer.js'

export type WriteCallback = (error?: Error | null) => void

/**
 * A stream that a driver can use as its `net.Socket`.
 *
 * Once there is a real socket, writes bypass the queues of this stream. The queues would cost each query some microseconds, a tenth of the
 * time that Node spends on it. They are only used for data that has to wait.
 */
export abstract class DriverSocket extends Duplex {
  protected readonly settings: SocketSettings = createSocketSettings()
  /** The socket that writes go to directly; `undefined` while they must be queued. Cached, since every query reads it. */
  #direct: ConnectionSocket | undefined
  /** The corked socket, until `uncork`. */
  #corked: ConnectionSocket | undefined
  #corks = 0
  #needsDrain = false

  constructor() {
    super({ allowHalfOpen: false })
  }

  /** The connected socket, unless writes must be queued. */
  protected abstract readonly openSocket: ConnectionSocket | undefined

  /** Called with all bytes before they are written to that socket. */
  protected abstract writing(bytes: Buffer): void

  /** As on a `net.Socket`. Postgres.js reads it before it sends Terminate. */
  get readyState(): 'opening' | 'open' | 'closed' {
    const ofOpen = this.openSocket === undefined ? 'opening' : 'open'
    return this.destroyed ? 'closed' : ofOpen
  }

  /**
   * The error for a driver that wants to connect to another server, or `undefined`. `host` is absent if the driver passes none, and for a
   * Unix socket, whose path is the first argument.
   */
  protected abstract refuseHost(host: string | undefined): Error | undefined

  /**
   * As on a `net.Socket`, but it opens nothing: the login has the address. pg only waits for the event before it writes. A stream that was
   * already destroyed fails like a refused connection: pg (8.23) would otherwise wait for an event that never comes.
   */
  connect(port?: unknown, host?: unknown): this {
    if (!this.destroyed) {
      const requested = isPlainObject(port) ? port['host'] : host
      const refusal = this.refuseHost(typeof requested === 'string' ? requested : undefined)
      if (refusal === undefined) process.nextTick(() => this.emit('connect'))
      // The error is emitted after this call, when pg is listening.
      else this.destroy(refusal)
      return this
    }
    process.nextTick(() => {
      this.emit('error', closedBeforeOpen())
      this.emit('close')
    })
    return this
  }

  setNoDelay(noDelay?: boolean): this {
    this.settings.set((socket) => socket.setNoDelay(noDelay))
    return this
  }

  setKeepAlive(enable?: boolean, initialDelay?: number): this {
    this.settings.set((socket) => socket.setKeepAlive(enable, initialDelay))
    return this
  }

  ref(): this {
    if (this.#direct === undefined) this.settings.set(ref)
    else this.#direct.ref()
    return this
  }

  unref(): this {
    if (this.#direct === undefined) this.settings.set(unref)
    else this.#direct.unref()
    return this
  }

  override write(
    chunk: unknown,
    encoding?: BufferEncoding | WriteCallback,
    callback?: WriteCallback,
  ): boolean {
    const socket = this.#direct ?? this.#findDirect()
    const bytes = Buffer.isBuffer(chunk) ? chunk : bytesOf(chunk, encoding)
    if (socket === undefined || socket.destroyed || bytes === undefined) {
      this.#direct = undefined
      return super.write(chunk, encoding as BufferEncoding, callback)
    }
    this.writing(bytes)
    const takesMore = socket.write(bytes, typeof encoding === 'function' ? encoding : callback)
    this.#needsDrain ||= !takesMore
    return takesMore
  }

  /** Corked messages are sent in one TLS record: pg's Parse, Bind, Describe, Execute and Sync. */
  override cork(): void {
    if (this.#corks === 0) this.#corked = this.#direct ?? this.#findDirect()
    if (this.#corked === undefined) return super.cork()
    this.#corks++
    this.#corked.cork()
  }

  override uncork(): void {
    if (this.#corks === 0) return super.uncork()
    this.#corks--
    this.#corked?.uncork()
  }

  override end(...last: never[]): this {
    this.#direct = undefined
    return super.end(...last)
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: WriteCallback,
  ): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', done)
  }

  /** Must be called when the socket emits `drain`. */
  protected drained(): void {
    if (!this.#needsDrain) return
    this.#needsDrain = false
    this.emit('drain')
  }

  /** Passes received bytes to the driver. @returns whether the driver can take more */
  protected deliver(bytes: Buffer): boolean {
    if (!this.#canEmitDirectly || this.destroyed) return this.push(bytes)
    this.emit('data', bytes)
    return true
  }

  /** Makes all further writes go through `_write`. */
  protected stopDirect(): void {
    this.#direct = undefined
  }

  get #canEmitDirectly(): boolean {
    return this.readableFlowing === true && this.readableLength === 0
  }

  /** Queued or corked writes must be sent first, so there is no direct socket while there are any. */
  #findDirect(): ConnectionSocket | undefined {
    if (this.writableLength > 0 || this.writableCorked > 0 || !this.writable) return undefined
    this.#direct = this.openSocket?.writable === true ? this.openSocket : undefined
    return this.#direct
  }
}

/** Drivers write buffers. Strings and typed arrays are converted. */
function bytesOf(chunk: unknown, encoding: unknown): Buffer | undefined {
  if (typeof chunk === 'string')
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
  return chunk instanceof Uint8Array
    ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    : undefined
}

/** Passes on the socket's write callback, which gives drivers backpressure. */
export function writeThrough(socket: ConnectionSocket, chunk: Buffer, done: WriteCallback): void {
  if (socket.destroyed) done(brokenPipe())
  else socket.write(chunk, (error) => done(error))
}

const ref = (socket: ConnectionSocket): void => void socket.ref()
const unref = (socket: ConnectionSocket): void => void socket.unref()

// Socket settings, which a driver may change before the socket exists.

interface SocketSettings {
  set(change: (socket: ConnectionSocket) => void): void
  /** Applies all changes so far to `socket`, and later ones immediately. */
  apply(socket: ConnectionSocket): void
}

function createSocketSettings(): SocketSettings {
  const waiting: ((socket: ConnectionSocket) => void)[] = []
  let target: ConnectionSocket | undefined
  return {
    set(change) {
      if (target === undefined) waiting.push(change)
      else change(target)
    },
    apply(socket) {
      target = socket
      for (const change of waiting.splice(0)) change(socket)
    },
  }
}

// Stream errors, with the codes that drivers expect of a socket.

export function closedByServer(): Error {
  return Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' })
}

function brokenPipe(): Error {
  return Object.assign(new Error('the connection is closed'), { code: 'EPIPE' })
}

function closedBeforeOpen(): Error {
  return Object.assign(new Error('the connection was closed before it was open'), {
    code: 'ECONNABORTED',
  })
}

export function tlsTwice(): PgIamError {
  return new PgIamError(
    'ERR_OPTION_CONFLICT',
    'the client is configured to start TLS on a connection that already uses TLS',
    {
      hint: 'Remove "ssl" from the client\'s options: the login provides verified TLS.',
    },
  )
}
