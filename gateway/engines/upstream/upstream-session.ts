/** A session of the PostgreSQL behind the gateway, as a stream. */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { message } from '../../wire/backend-messages.js'
import { FrontendType } from '../../wire/message-types.js'
import type { EngineSession } from '../engine.js'

export interface UpstreamSessionSettings {
  /** Logged in, with no listener left on it. */
  socket: Socket
  /** What comes before whatever the socket gives next. */
  greeting: Buffer
  cancel: () => void
}

export function createUpstreamSession(settings: UpstreamSessionSettings): EngineSession {
  return new UpstreamSession(settings)
}

type Done = (error?: Error | null) => void

class UpstreamSession extends Duplex implements EngineSession {
  readonly #socket: Socket
  readonly #cancel: () => void

  constructor({ socket, greeting, cancel }: UpstreamSessionSettings) {
    super({ highWaterMark: HIGH_WATER_MARK })
    this.#socket = socket
    this.#cancel = cancel
    this.push(greeting)
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause()
    })
    socket.on('end', () => this.push(null))
    // What the server said last is still delivered: whoever reads finds out from the end that there is no more.
    socket.on('error', () => this.push(null))
    socket.on('close', () => this.push(null))
    // It may have ended while nobody listened.
    if (socket.destroyed || socket.readableEnded) this.push(null)
    socket.resume()
  }

  cancel(): void {
    this.#cancel()
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#socket.destroyed || this.#socket.write(chunk)) done()
    else waitForRoom(this.#socket, done)
  }

  override _final(done: Done): void {
    // Without it, PostgreSQL would log a client that vanished.
    this.#socket.end(message(FrontendType.terminate))
    done()
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#socket.destroy()
    done(error)
  }
}

const HIGH_WATER_MARK = 256 * 1024

/** Writing to a server that is gone ends in silence, too: the other direction reports the end. */
function waitForRoom(socket: Socket, done: Done): void {
  const proceed = (): void => {
    socket.off('drain', proceed).off('close', proceed)
    done()
  }
  socket.on('drain', proceed).on('close', proceed)
}
