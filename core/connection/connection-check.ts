/** Asks the server `select 1` before a query on a connection that has been idle, so that a lost network is noticed in seconds. */
import { Duplex } from 'node:stream'
import type { OpenConnection } from './open-connection.js'
import type { ConnectionSocket } from './web-socket-stream.js'
import { createMessageReader, createReplyTracker } from '../../wire/framing.js'
import { createFrontendReader } from '../../wire/frontend.js'
import {
  BackendType,
  cString,
  encodeMessage,
  FrontendType,
  TransactionStatus,
} from '../../wire/messages.js'

export interface ConnectionCheckOptions {
  /** How long a connection must have been idle, in milliseconds. */
  readonly idleMs: number
  /** How long the server may take to answer, in milliseconds. */
  readonly timeoutMs: number
}

/** Returns what puts the check into a connection that has logged in. */
export function connectionCheck(
  options: ConnectionCheckOptions,
): (opened: OpenConnection) => Promise<OpenConnection> {
  return async (opened) => ({
    ...opened,
    socket: new CheckedStream(opened, options) as unknown as ConnectionSocket,
    received: Buffer.alloc(0),
  })
}

class CheckedStream extends Duplex {
  readonly #socket: ConnectionSocket
  readonly #options: ConnectionCheckOptions
  readonly #replies = createReplyTracker()
  readonly #requests = createFrontendReader(MAX_BYTES, MAX_BYTES, (type) => this.#sent(type))
  /** The ReadyForQuery messages that are due. */
  #due = 0
  /** Whether the driver has sent a message whose Sync it has not sent yet. */
  #isOpen = false
  #idleSince = 0
  #check: (() => void) | undefined
  readonly #ofCheck = createMessageReader(MAX_BYTES)

  constructor({ socket, received }: OpenConnection, options: ConnectionCheckOptions) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    this.#options = options
    this.#pass(received)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => {
      if (!this.readableEnded) this.push(null)
    })
    socket.pause()
  }

  get #isIdle(): boolean {
    const { transactionStatus } = this.#replies
    return this.#due === 0 && !this.#isOpen && transactionStatus === TransactionStatus.idle
  }

  #sent(type: number): void {
    const isDue =
      type === FrontendType.query ||
      type === FrontendType.sync ||
      type === FrontendType.functionCall
    if (isDue) this.#due++
    this.#isOpen = !isDue && type !== FrontendType.terminate
  }

  #receive(chunk: Buffer): void {
    if (this.#check === undefined) {
      this.#pass(chunk)
      return
    }
    for (const { type, bytes } of this.#ofCheck.push(chunk)) {
      if (type === BackendType.readyForQuery) this.#check?.()
      // What the server says of itself, such as that it ends the session.
      else if (!OF_CHECK.has(type)) this.#pass(bytes)
    }
  }

  #pass(bytes: Buffer): void {
    const before = this.#replies.readyCount
    this.#replies.push(bytes)
    const answered = this.#replies.readyCount - before
    this.#due = Math.max(0, this.#due - answered)
    if (answered > 0) this.#idleSince = Date.now()
    if (bytes.length > 0 && !this.push(bytes)) this.#socket.pause()
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    const isDue = this.#isIdle && Date.now() - this.#idleSince >= this.#options.idleMs
    this.#requests.push(chunk)
    const write = (): void => void this.#socket.write(chunk, done)
    if (!isDue || this.#requests.terminated) {
      write()
      return
    }
    const timer = setTimeout(() => {
      const { timeoutMs } = this.#options
      const message = `the server did not answer within ${timeoutMs} ms on a connection that was idle`
      this.destroy(Object.assign(new Error(message), { code: 'ETIMEDOUT' }))
    }, this.#options.timeoutMs)
    this.#check = () => {
      clearTimeout(timer)
      this.#check = undefined
      write()
    }
    this.once('close', () => clearTimeout(timer))
    this.#socket.resume()
    this.#socket.write(SELECT_1)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', done)
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }

  setNoDelay(noDelay?: boolean): this {
    this.#socket.setNoDelay(noDelay)
    return this
  }

  setKeepAlive(enable?: boolean, initialDelay?: number): this {
    this.#socket.setKeepAlive(enable, initialDelay)
    return this
  }

  ref(): this {
    this.#socket.ref()
    return this
  }

  unref(): this {
    this.#socket.unref()
    return this
  }
}

const SELECT_1 = encodeMessage(FrontendType.query, cString('select 1'))
const MAX_BYTES = 2 ** 30
const OF_CHECK: ReadonlySet<number> = new Set([
  BackendType.rowDescription,
  BackendType.dataRow,
  BackendType.commandComplete,
])
