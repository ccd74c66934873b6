/** What drivers take for granted of a socket, besides that it is a stream. */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { createSocketSettings, type SocketSettings } from './socket-settings.js'
import { brokenPipe } from './stream-errors.js'

export type WriteCallback = (error?: Error | null) => void

/**
 * A stream that a driver can use as its `net.Socket`.
 *
 * Once there is a real socket, the queues of a stream between it and the driver would cost each query some microseconds, a tenth of
 * all that Node does for it. So they are used only for what has to wait.
 */
export abstract class DriverSocket extends Duplex {
  protected readonly settings: SocketSettings = createSocketSettings()
  #needsDrain = false

  constructor() {
    super({ allowHalfOpen: false })
  }

  /** The socket that takes what the driver writes, while there is one and nothing stands against it. */
  protected abstract readonly openSocket: Socket | undefined

  /** Is told of everything that goes to that socket, before it does. */
  protected abstract writing(bytes: Buffer): void

  /** As on a `net.Socket`. The address is the login's business; pg only waits for the event before it writes. */
  connect(): this {
    process.nextTick(() => this.emit('connect'))
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
    this.settings.set((socket) => socket.ref())
    return this
  }

  unref(): this {
    this.settings.set((socket) => socket.unref())
    return this
  }

  override write(
    chunk: unknown,
    encoding?: BufferEncoding | WriteCallback,
    callback?: WriteCallback,
  ): boolean {
    const socket = this.#directSocket()
    if (socket === undefined || !Buffer.isBuffer(chunk)) {
      return super.write(chunk, encoding as BufferEncoding, callback)
    }
    this.writing(chunk)
    const takesMore = socket.write(chunk, typeof encoding === 'function' ? encoding : callback)
    this.#needsDrain ||= !takesMore
    return takesMore
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: WriteCallback,
  ): void {
    // One TLS record for what pg corked together: Parse, Bind, Describe, Execute, Sync.
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
    const isReadAsItComes = this.readableFlowing === true && this.readableLength === 0
    if (!isReadAsItComes || this.destroyed) return this.push(bytes)
    this.emit('data', bytes)
    return true
  }

  /** What waits, or is held back to be written together, goes first. */
  #directSocket(): Socket | undefined {
    if (this.writableLength > 0 || this.writableCorked > 0 || !this.writable) return undefined
    return this.openSocket?.writable === true ? this.openSocket : undefined
  }
}

/** The callback is what holds a driver back that writes faster than the network takes. */
export function writeThrough(socket: Socket, chunk: Buffer, done: WriteCallback): void {
  if (socket.destroyed) done(brokenPipe())
  else socket.write(chunk, (error) => done(error))
}
