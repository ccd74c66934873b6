/** What drivers take for granted of a socket, besides that it is a stream. */
import { Duplex } from 'node:stream'
import { createSocketSettings, type SocketSettings } from './socket-settings.js'

export type WriteCallback = (error?: Error | null) => void

/** A stream that a driver can use as its `net.Socket`. */
export abstract class DriverSocket extends Duplex {
  protected readonly settings: SocketSettings = createSocketSettings()

  constructor() {
    super({ allowHalfOpen: false })
  }

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

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: WriteCallback,
  ): void {
    // One TLS record for what pg corked together: Parse, Bind, Describe, Execute, Sync.
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', done)
  }
}
