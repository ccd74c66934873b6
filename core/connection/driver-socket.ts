/** What drivers take for granted of a socket, besides that it is a stream. */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { PgIamError } from '../errors.js'

export type WriteCallback = (error?: Error | null) => void

/**
 * A stream that a driver can use as its `net.Socket`.
 *
 * Once there is a real socket, the queues of a stream between it and the driver would cost each query some microseconds, a tenth of
 * all that Node does for it. So they are used only for what has to wait.
 */
export abstract class DriverSocket extends Duplex {
  protected readonly settings: SocketSettings = createSocketSettings()
  /** The socket, once there is one and while nothing stands between it and the driver. Kept, because every query asks. */
  #direct: Socket | undefined
  /** The socket that holds back what the driver writes, until it has all that goes together. */
  #corked: Socket | undefined
  #corks = 0
  #needsDrain = false

  constructor() {
    super({ allowHalfOpen: false })
  }

  /** The socket that takes what the driver writes, while there is one and nothing stands against it. */
  protected abstract readonly openSocket: Socket | undefined

  /** Is told of everything that goes to that socket, before it does. */
  protected abstract writing(bytes: Buffer): void

  /** As on a `net.Socket`: Postgres.js reads it before it says goodbye. */
  get readyState(): 'opening' | 'open' | 'closed' {
    const ofOpen = this.openSocket === undefined ? 'opening' : 'open'
    return this.destroyed ? 'closed' : ofOpen
  }

  /**
   * As on a `net.Socket`. The address is the login's business; pg only waits for the event before it writes. A stream that was
   * destroyed before fails like a socket whose connection is refused: pg (8.23) would wait for one of these events for ever.
   */
  connect(): this {
    if (!this.destroyed) {
      process.nextTick(() => this.emit('connect'))
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

  /** The socket makes one TLS record of what is corked: of Parse, Bind, Describe, Execute and Sync of pg. */
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

  /** Is to be called when the socket can take more. */
  protected drained(): void {
    if (!this.#needsDrain) return
    this.#needsDrain = false
    this.emit('drain')
  }

  /** Gives the driver what has come. @returns whether it takes more */
  protected deliver(bytes: Buffer): boolean {
    if (!this.#isReadAsItComes || this.destroyed) return this.push(bytes)
    this.emit('data', bytes)
    return true
  }

  /** From now on whatever the driver writes goes the long way, through `_write`. */
  protected stopDirect(): void {
    this.#direct = undefined
  }

  get #isReadAsItComes(): boolean {
    return this.readableFlowing === true && this.readableLength === 0
  }

  /** What waits, or is held back to be written together, goes first. */
  #findDirect(): Socket | undefined {
    if (this.writableLength > 0 || this.writableCorked > 0 || !this.writable) return undefined
    this.#direct = this.openSocket?.writable === true ? this.openSocket : undefined
    return this.#direct
  }
}

/** Drivers write buffers; what else can be written is text, and arrays of bytes. */
function bytesOf(chunk: unknown, encoding: unknown): Buffer | undefined {
  if (typeof chunk === 'string')
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
  return chunk instanceof Uint8Array
    ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    : undefined
}

/** The callback is what holds a driver back that writes faster than the network takes. */
export function writeThrough(socket: Socket, chunk: Buffer, done: WriteCallback): void {
  if (socket.destroyed) done(brokenPipe())
  else socket.write(chunk, (error) => done(error))
}

const ref = (socket: Socket): void => void socket.ref()
const unref = (socket: Socket): void => void socket.unref()

// What a driver asks of its socket, which it may do before there is one.

interface SocketSettings {
  set(change: (socket: Socket) => void): void
  /** Makes all changes so far, and later ones at once. */
  apply(socket: Socket): void
}

function createSocketSettings(): SocketSettings {
  const waiting: ((socket: Socket) => void)[] = []
  let target: Socket | undefined
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

// The errors of a stream that stands for a socket, with the codes that drivers know from sockets.

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
    'the client is set to do TLS itself, on a connection that has it already',
    {
      hint: 'Leave "ssl" out of the client\'s options: the login brings verified TLS.',
    },
  )
}
