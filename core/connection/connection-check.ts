/** Asks the server `select 1` before a query on a connection that has been idle, so that a lost network is noticed in seconds. */
import { createReplyTracker } from '../../wire/framing.js'
import { createFrontendReader } from '../../wire/frontend.js'
import {
  BackendType,
  cString,
  encodeMessage,
  FrontendType,
  HEADER_BYTES,
  TransactionStatus,
} from '../../wire/messages.js'
import { errorFields } from '../../wire/error-response.js'
import type { OpenConnection } from './open-connection.js'
import { type ConnectionSocket, SocketLayer } from './socket-layer.js'

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
    socket: new CheckedStream(opened, options),
    received: Buffer.alloc(0),
  })
}

type Done = (error?: Error | null) => void

class CheckedStream extends SocketLayer {
  readonly #socket: ConnectionSocket
  readonly #options: ConnectionCheckOptions
  readonly #replies = createReplyTracker()
  readonly #requests = createFrontendReader(MAX_BYTES, MAX_BYTES, (type) => this.#sent(type))
  /** The ReadyForQuery messages that are due. */
  #due = 0
  /** Whether the driver has sent a message whose Sync it has not sent yet. */
  #isOpen = false
  #idleSince = 0
  /** What is to do when the server has answered the check, and what of its answer has arrived. */
  #check: { readonly answered: () => void; readonly timer: NodeJS.Timeout } | undefined
  #answer: Buffer = Buffer.alloc(0)
  /** Whether a query waits for the answer. */
  #isWaiting = false
  /** Whether one side has violated the protocol. The bytes pass, and their reader reports the violation. */
  #isDisturbed = false

  constructor({ socket, received }: OpenConnection, options: ConnectionCheckOptions) {
    super(socket, { allowHalfOpen: false })
    this.#socket = socket
    this.#options = options
    this.#pass(received)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('end', () => this.push(null))
    // A query that waits for the check will never be sent.
    this.once('end', () => {
      if (this.#isWaiting) this.destroy()
    })
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => {
      if (!this.readableEnded) this.push(null)
    })
    socket.pause()
  }

  get #isIdle(): boolean {
    const { transactionStatus, atBoundary } = this.#replies
    const isBetween = this.#due === 0 && !this.#isOpen && atBoundary && !this.#isDisturbed
    return isBetween && transactionStatus === TransactionStatus.idle
  }

  #sent(type: number): void {
    if (OF_COPY.has(type)) return
    const isDue =
      type === FrontendType.query ||
      type === FrontendType.sync ||
      type === FrontendType.functionCall
    if (isDue) this.#due++
    this.#isOpen = !isDue
  }

  /** Runs what reads messages. What is none passes, and is not checked any more. */
  #reading(read: () => void): void {
    if (this.#isDisturbed) return
    try {
      read()
    } catch {
      this.#isDisturbed = true
    }
  }

  #receive(chunk: Buffer): void {
    if (this.#check === undefined) {
      this.#pass(chunk)
      return
    }
    this.#answer = Buffer.concat([this.#answer, chunk])
    while (this.#check !== undefined && this.#answer.length >= HEADER_BYTES) {
      const end = 1 + this.#answer.readInt32BE(1)
      if (end < HEADER_BYTES) this.#endCheck()
      else if (this.#answer.length < end) return
      else this.#takeMessage(end)
    }
  }

  /** A message of the answer: only what ends the connection, and what the server says of itself, is for the driver. */
  #takeMessage(end: number): void {
    const message = this.#answer.subarray(0, end)
    this.#answer = this.#answer.subarray(end)
    const type = message[0]!
    if (type === BackendType.readyForQuery) {
      const { answered } = this.#check!
      this.#idleSince = Date.now()
      this.#endCheck()
      this.#isWaiting = false
      answered()
    } else if (type === BackendType.errorResponse && isFatal(message)) {
      this.#pass(message)
      this.#endCheck()
    } else if (!OF_CHECK.has(type)) this.#pass(message)
  }

  #endCheck(): void {
    const rest = this.#answer
    clearTimeout(this.#check?.timer)
    this.#check = undefined
    this.#answer = Buffer.alloc(0)
    if (rest.length > 0) this.#pass(rest)
  }

  #pass(bytes: Buffer): void {
    this.#reading(() => {
      const before = this.#replies.readyCount
      this.#replies.push(bytes)
      const answered = this.#replies.readyCount - before
      this.#due = Math.max(0, this.#due - answered)
      if (answered > 0) this.#idleSince = Date.now()
    })
    if (bytes.length > 0 && !this.push(bytes)) this.#socket.pause()
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    const isDue = this.#isIdle && Date.now() - this.#idleSince >= this.#options.idleMs
    this.#reading(() => void this.#requests.push(chunk))
    if (!isDue || this.#requests.terminated) this.#socket.write(chunk, done)
    else this.#askFirst(() => this.#socket.write(chunk, done))
  }

  /** The query waits for the answer. If the connection ends before, it is never sent. */
  #askFirst(answered: () => void): void {
    const { timeoutMs } = this.#options
    const timer = setTimeout(() => {
      const message = `the server did not answer within ${timeoutMs} ms on a connection that was idle`
      this.destroy(Object.assign(new Error(message), { code: 'ETIMEDOUT' }))
    }, timeoutMs)
    this.#isWaiting = true
    this.#check = { answered, timer }
    this.#socket.resume()
    this.#socket.write(SELECT_1)
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#check?.timer)
    this.#socket.destroy()
    done(error)
  }
}

/** A server that answers with an error, such as a conflict, is there. */
function isFatal(response: Buffer): boolean {
  const fields = errorFields(response)
  return (fields.get('V') ?? fields.get('S')) !== 'ERROR'
}

const SELECT_1 = encodeMessage(FrontendType.query, cString('select 1'))
const MAX_BYTES = 2 ** 30
const OF_CHECK: ReadonlySet<number> = new Set([
  BackendType.rowDescription,
  BackendType.dataRow,
  BackendType.commandComplete,
  BackendType.errorResponse,
])
const OF_COPY: ReadonlySet<number> = new Set([
  FrontendType.copyData,
  FrontendType.copyDone,
  FrontendType.copyFail,
])
