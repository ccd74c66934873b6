/** Calls `onMessage` and `onReply` for each message of a session, in order, and puts their replies where the protocol allows them. */
import { describeKind } from '../../core/options/check.js'
import { ServerError, type ServerErrorOptions } from '../../wire/error-response.js'
import { createMessageReader, ProtocolViolation } from '../../wire/framing.js'
import {
  BackendType,
  cString,
  encodeMessage,
  FrontendType,
  parameterStatus,
} from '../../wire/messages.js'
import { sqlStateIn } from '../auth/refusal.js'
import type { HookReply } from './connection-options.js'
import { createExpectedReplies } from './expected-replies.js'

const NOTHING: Buffer = Buffer.alloc(0)

function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>> | undefined)?.then === 'function'
}

// The client's messages.

interface RequestHookSettings {
  /** `onMessage` of the options. */
  call(message: Buffer): HookReply | PromiseLike<HookReply>
  /** Passes whole messages to the engine. */
  forward(messages: Buffer): void
  /** Sends whole messages to the client. Resolves when more may be sent, and rejects if the client has left. */
  send(bytes: Uint8Array): Promise<void>
  /** Sends the error of a hook to the client. `isWhole`: a ReadyForQuery follows. */
  sendError(error: unknown, isWhole: boolean): void
  /** Whether the client has received whole messages only, so that others may follow. */
  isAtBoundary(): boolean
  /** Called for a Terminate or the end of the client's messages, after the hooks. */
  terminated(): void
  /** Called when bytes were taken from the queue. */
  taken(): void
}

export interface RequestHook {
  /** Adds whole messages of the client. */
  push(messages: Buffer): void
  /** Notes that there are no more messages. */
  end(): void
  /** Notes that the engine has begun to send a reply of this type. */
  replied(type: number): void
  /** Notes that the client has received more bytes. */
  delivered(): void
  /** The bytes that wait for a hook. */
  readonly queuedBytes: number
  /** Calls no more hooks. Returns the messages that were not passed to one. */
  stop(): Buffer
}

/**
 * Creates the queue of a session. While the hook is pending, messages wait, so they reach the engine in order. A reply of the hook waits for
 * the engine's replies to earlier messages.
 */
export function createRequestHook(settings: RequestHookSettings): RequestHook {
  const chunks: Buffer[] = []
  /** Where the next message of the first chunk begins. */
  let offset = 0
  let queuedBytes = 0
  let isRunning = false
  let isStopped = false
  /** A hook has failed in the extended protocol: the messages up to the Sync are dropped, as a server does. */
  let isSkipping = false
  let isEnded = false
  const expected = createExpectedReplies()
  let wake: (() => void) | undefined

  const next = (): Buffer | undefined => {
    const [chunk] = chunks
    if (chunk === undefined) return undefined
    const end = offset + 1 + chunk.readInt32BE(offset + 1)
    const message = chunk.subarray(offset, end)
    queuedBytes -= message.length
    offset = end
    if (end === chunk.length) {
      chunks.shift()
      offset = 0
    }
    return message
  }
  /** Resolves when the client may get a reply to the message, with `false` if it must get none. */
  const isTurn = async (type: number): Promise<boolean> => {
    const isReady = (): boolean => isInCopy(type) || expected.isIdle
    // Without a Flush the engine would keep its replies until the client's Sync.
    if (!isReady() && !expected.endsRequest) settings.forward(encodeMessage(FrontendType.flush))
    while (!isStopped && !(isReady() && settings.isAtBoundary()))
      await new Promise<void>((resolve) => (wake = resolve))
    // The engine ignores messages after an error, up to the Sync.
    return !isStopped && (type === FrontendType.sync || !expected.hasFailed)
  }
  const pass = (message: Buffer): void => {
    if (message[0] === FrontendType.terminate) {
      settings.terminated()
      return
    }
    expected.add(message[0]!)
    settings.forward(message)
  }
  const reply = async (type: number, given: NonNullable<HookReply>): Promise<void> => {
    if (!(await isTurn(type))) return
    if (given instanceof Uint8Array) {
      await settings.send(given)
      return
    }
    for await (const bytes of given) {
      if (!(await isTurn(type))) return
      await settings.send(bytes)
    }
  }
  const fail = async (message: Buffer, error: unknown): Promise<void> => {
    const type = message[0]!
    if (type === FrontendType.terminate) {
      pass(message)
      return
    }
    if (isInCopy(type)) {
      // In a COPY the client reads no error before it has sent its data. The engine ends the COPY.
      pass(copyFail(error))
      return
    }
    if (!(await isTurn(type))) return
    const isSync = type === FrontendType.sync
    const isWhole = type === FrontendType.query || type === FrontendType.functionCall
    if (!expected.hasFailed) settings.sendError(error, isWhole)
    if (isSync) pass(message)
    else isSkipping = !isWhole
  }
  /** Calls the hook for one message. Returns a promise only if it has to wait. */
  const handle = (message: Buffer): Promise<void> | undefined => {
    if (isSkipping && message[0] !== FrontendType.terminate) {
      if (message[0] !== FrontendType.sync) return undefined
      isSkipping = false
    }
    let given: HookReply | PromiseLike<HookReply>
    try {
      given = settings.call(message)
    } catch (error) {
      return fail(message, error)
    }
    // The hook may have detached the connection.
    if (isStopped) return undefined
    if (given === undefined) {
      pass(message)
      return undefined
    }
    return handleLater(message, given)
  }
  const handleLater = async (
    message: Buffer,
    given: NonNullable<HookReply> | PromiseLike<HookReply>,
  ): Promise<void> => {
    try {
      const answer = isPromise(given) ? await given : given
      if (isStopped) return
      if (answer === undefined || message[0] === FrontendType.terminate) pass(message)
      else await reply(message[0]!, checkedReply(answer))
    } catch (error) {
      if (!isStopped) await fail(message, error)
    }
  }
  const run = (): void => {
    if (isRunning) return
    isRunning = true
    for (let message = next(); message !== undefined && !isStopped; message = next()) {
      const pending = handle(message)
      if (pending === undefined) continue
      const proceed = (): void => {
        isRunning = false
        if (isStopped) return
        settings.taken()
        run()
      }
      pending.then(proceed, proceed)
      return
    }
    isRunning = false
    settings.taken()
    if (isEnded && !isStopped) settings.terminated()
  }
  return {
    push(messages) {
      chunks.push(messages)
      queuedBytes += messages.length
      run()
    },
    end() {
      isEnded = true
      run()
    },
    replied: (type) => expected.take(type),
    delivered: () => wake?.(),
    get queuedBytes() {
      return queuedBytes
    },
    stop() {
      isStopped = true
      wake?.()
      const [first = NOTHING, ...others] = chunks.splice(0)
      return Buffer.concat([first.subarray(offset), ...others])
    },
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'a hook failed'
}

/** Whether the message belongs to the data of a COPY, to which the engine replies at its end only. */
function isInCopy(type: number): boolean {
  return (
    type === FrontendType.copyData ||
    type === FrontendType.copyDone ||
    type === FrontendType.copyFail
  )
}

/** The message that ends a COPY with the error. */
export function copyFail(error: unknown): Buffer {
  return encodeMessage(FrontendType.copyFail, cString(messageOf(error)))
}

/** Throws for what a hook in JavaScript may return, such as `true`. */
export function checkedReply(reply: unknown): NonNullable<HookReply> {
  const isIterable = typeof reply === 'object' && reply !== null && Symbol.asyncIterator in reply
  if (reply instanceof Uint8Array || isIterable) return reply as NonNullable<HookReply>
  throw new TypeError(
    `"onMessage" must return a Uint8Array, an AsyncIterable or undefined, got ${describeKind(reply)}`,
  )
}

// The engine's messages.

interface ReplyHookSettings {
  /** `onReply` of the options. */
  call:
    ((message: Buffer) => Uint8Array | undefined | PromiseLike<Uint8Array | undefined>) | undefined
  /** The parameters that take precedence over the engine's. */
  parameters: ReadonlyMap<string, string>
  maxMessageBytes: number
  /** Sends bytes to the client. */
  deliver(bytes: Buffer): void
  /** Sends the error of a hook to the client, in place of the reply. */
  sendError(error: unknown): void
  /** Whether the client waits for replies. */
  isAsked(): boolean
  /** Whether the client has to read before it is sent more. */
  isFull(): boolean
  /** Called when the client has got what it gets for a message of this type. */
  handled(type: number): void
  /** Ends a COPY from the client, which gets no reply that it may begin. */
  endCopy(error: unknown): void
  /** Called when bytes were taken from the queue. */
  taken(): void
}

export interface ReplyHook {
  /** Adds bytes of the engine. Throws a `ProtocolViolation` for a message that is malformed or too long. */
  push(chunk: Buffer): void
  /** Notes that the client has read. */
  resume(): void
  /** The bytes that wait for a hook. */
  readonly queuedBytes: number
  /** Whether bytes may be delivered without the hook from now on. */
  readonly isDone: boolean
  /** Calls `done` when all bytes so far were delivered. */
  whenEmpty(done: () => void): void
  stop(): void
}

export function createReplyHook(settings: ReplyHookSettings): ReplyHook {
  const reader = createMessageReader(settings.maxMessageBytes)
  const { parameters } = settings
  let queue: Buffer[] = []
  let queuedBytes = 0
  let isRunning = false
  let isStopped = false
  let isGreeted = parameters.size === 0
  /** A hook has failed: the other replies to the request are dropped. */
  let isDropping = false
  let empty: (() => void) | undefined

  const ownParameters = (): Buffer[] =>
    [...parameters].map(([name, value]) => parameterStatus(name, value))
  /** Replaces the engine's parameters before the first ReadyForQuery. */
  const greet = (message: Buffer): Buffer => {
    if (message[0] === BackendType.parameterStatus) {
      const name = message.toString('utf8', 5, message.indexOf(0, 5))
      return parameters.has(name) ? NOTHING : message
    }
    if (message[0] !== BackendType.readyForQuery) return message
    isGreeted = true
    return Buffer.concat([...ownParameters(), message])
  }
  const fail = (message: Buffer, error: unknown): void => {
    const type = message[0]!
    if (type === BackendType.copyInResponse || type === BackendType.copyBothResponse)
      settings.endCopy(error)
    settings.sendError(error)
    isDropping = settings.isAsked()
    settings.handled(BackendType.errorResponse)
    // Without it, the client would wait for the end of its statement.
    if (type === BackendType.readyForQuery) deliver(message, undefined)
  }
  const deliver = (message: Buffer, given: Uint8Array | undefined): void => {
    if (given !== undefined && !(given instanceof Uint8Array))
      throw new TypeError(
        `"onReply" must return a Uint8Array or undefined, got ${describeKind(given)}`,
      )
    const bytes = given ?? message
    if (!(bytes instanceof Uint8Array)) throw new TypeError('"onReply" returned no bytes')
    if (bytes.length > 0)
      settings.deliver(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
    if (message[0] === BackendType.readyForQuery) isDropping = false
    settings.handled(message[0]!)
  }
  const handle = (message: Buffer): Promise<void> | undefined => {
    if (isDropping && message[0] !== BackendType.readyForQuery) {
      settings.handled(message[0]!)
      return undefined
    }
    isDropping = false
    const greeted = isGreeted ? message : greet(message)
    if (settings.call === undefined || greeted !== message) {
      deliver(message, greeted)
      return undefined
    }
    try {
      const given = settings.call(message)
      if (isPromise(given)) return handleLater(message, given)
      deliver(message, given)
    } catch (error) {
      fail(message, error)
    }
    return undefined
  }
  const handleLater = async (
    message: Buffer,
    given: PromiseLike<Uint8Array | undefined>,
  ): Promise<void> => {
    try {
      const bytes = await given
      if (!isStopped) deliver(message, bytes)
    } catch (error) {
      if (!isStopped) fail(message, error)
    }
  }
  const run = (): void => {
    if (isRunning) return
    isRunning = true
    while (!isStopped && !settings.isFull()) {
      const message = queue.shift()
      if (message === undefined) break
      queuedBytes -= message.length
      const pending = handle(message)
      if (pending === undefined) continue
      void pending.then(() => {
        isRunning = false
        if (isStopped) return
        settings.taken()
        run()
      })
      return
    }
    isRunning = false
    if (isStopped) return
    settings.taken()
    if (queue.length === 0) empty?.()
  }
  return {
    push(chunk) {
      const messages = reader.push(chunk)
      for (const { bytes } of messages) {
        queue.push(bytes)
        queuedBytes += bytes.length
      }
      run()
    },
    resume: run,
    get queuedBytes() {
      return queuedBytes
    },
    get isDone() {
      return settings.call === undefined && isGreeted && queue.length === 0 && reader.isEmpty
    },
    whenEmpty(done) {
      empty = done
      if (!isRunning && queue.length === 0) done()
    },
    stop() {
      isStopped = true
      queue = []
    },
  }
}

/** The error for the client, for what a hook has thrown: its SQLSTATE and the fields of the protocol, if it has them. */
export function errorOfHook(error: unknown, isFatal: boolean): ServerError {
  if (error instanceof ProtocolViolation)
    return new ServerError('08P01', error.message, { severity: 'FATAL' })
  const given = Object(error) as Readonly<Record<string, unknown>>
  const { message, severity } = given
  const isGivenFatal = severity === 'FATAL' || severity === 'PANIC'
  // A ServerError keeps the other fields in `fields`.
  const further = Object(given['fields']) as Readonly<Record<string, unknown>>
  const fields = Object.fromEntries(
    FIELDS.flatMap((name) => {
      const value = given[name] ?? further[name]
      return typeof value === 'string' || typeof value === 'number' ? [[name, value]] : []
    }),
  ) as ServerErrorOptions
  return new ServerError(
    sqlStateIn(error) ?? 'XX000',
    typeof message === 'string' ? message : 'internal error',
    { ...fields, severity: isFatal || isGivenFatal ? 'FATAL' : 'ERROR' },
  )
}

const FIELDS = [
  'detail',
  'hint',
  'position',
  'where',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
] as const satisfies readonly (keyof ServerErrorOptions)[]
