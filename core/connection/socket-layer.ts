/** A stream that a driver uses as its socket, on top of another one. */
import { Duplex, type DuplexOptions } from 'node:stream'

/** What drivers call on their sockets, besides a stream's methods. */
export interface ConnectionSocket extends Duplex {
  setNoDelay(noDelay?: boolean): this
  setKeepAlive(enable?: boolean, initialDelay?: number): this
  setTimeout(timeoutMs: number, callback?: () => void): this
  ref(): this
  unref(): this
}

/** Passes the settings of a socket to the one below, if there is one, and collects what is written together. */
export abstract class SocketLayer extends Duplex implements ConnectionSocket {
  readonly #below: ConnectionSocket | undefined

  constructor(below: ConnectionSocket | undefined, options: DuplexOptions) {
    super(options)
    this.#below = below
  }

  setNoDelay(noDelay?: boolean): this {
    this.#below?.setNoDelay(noDelay)
    return this
  }

  setKeepAlive(enable?: boolean, initialDelay?: number): this {
    this.#below?.setKeepAlive(enable, initialDelay)
    return this
  }

  setTimeout(timeoutMs: number, callback?: () => void): this {
    this.#below?.setTimeout(timeoutMs, callback)
    return this
  }

  ref(): this {
    this.#below?.ref()
    return this
  }

  unref(): this {
    this.#below?.unref()
    return this
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', done)
  }
}
