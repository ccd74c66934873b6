/** Calls `onMessage` and `onReply` for each message of a session, in order, and puts their replies where the protocol allows them. */
import { ServerError } from '../../wire/error-response.js'
import { createMessageReader, ProtocolViolation } from '../../wire/framing.js'
import {
  BackendType,
  cString,
  encodeMessage,
  FrontendType,
  parameterStatus,
} from '../../wire/messages.js'
import { ENDS_REQUEST } from '../../wire/frontend.js'
import type { HookReply } from './connection-options.js'

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
  /** Called for a Terminate, after the hook. */
  terminated(): void
  /** Called when bytes were taken from the queue. */
  taken(): void
}

export interface RequestHook {
  /** Adds whole messages of the client. */
  push(messages: Buffer): void
  /** Notes that the engine has begun to send a reply of this type. */
  replied(type: number): void
  /** Notes that the client has received whole messages only, so that others may follow. */
  atBoundary(): void
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
  const expected = createExpectedReplies()
  let becomeIdle: (() => void) | undefined

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
  const engineIdle = async (): Promise<void> => {
    if (expected.isIdle) return
    // Without a Flush the engine would keep its replies until the client's Sync.
    if (!expected.endsRequest) settings.forward(encodeMessage(FrontendType.flush))
    await new Promise<void>((resolve) => (becomeIdle = resolve))
  }
  const pass = (message: Buffer): void => {
    if (message[0] === FrontendType.terminate) {
      settings.terminated()
      return
    }
    expected.add(message[0]!)
    settings.forward(message)
  }
  const reply = async (message: Buffer, given: NonNullable<HookReply>): Promise<void> => {
    // The engine ignores messages after an error, up to the Sync.
    if (expected.hasFailed && message[0] !== FrontendType.sync) return
    await engineIdle()
    if (given instanceof Uint8Array) {
      await settings.send(given)
      return
    }
    for await (const bytes of given) {
      if (isStopped) return
      await settings.send(bytes)
    }
  }
  const fail = async (message: Buffer, error: unknown): Promise<void> => {
    const type = message[0]!
    if (type === FrontendType.terminate) {
      settings.terminated()
      return
    }
    if (type === FrontendType.copyData || type === FrontendType.copyDone) {
      // In a COPY the client reads no error before it has sent its data. The engine ends the COPY.
      settings.forward(encodeMessage(FrontendType.copyFail, cString(messageOf(error))))
      return
    }
    await engineIdle()
    if (isStopped) return
    const isSync = type === FrontendType.sync
    const isWhole = type === FrontendType.query || type === FrontendType.functionCall
    settings.sendError(error, isWhole)
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
      if (answer === undefined) pass(message)
      else await reply(message, answer)
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
  }
  return {
    push(messages) {
      chunks.push(messages)
      queuedBytes += messages.length
      run()
    },
    replied: (type) => expected.take(type),
    atBoundary() {
      if (becomeIdle === undefined || !expected.isIdle) return
      becomeIdle()
      becomeIdle = undefined
    },
    get queuedBytes() {
      return queuedBytes
    },
    stop() {
      isStopped = true
      becomeIdle?.()
      const [first = NOTHING, ...others] = chunks.splice(0)
      return Buffer.concat([first.subarray(offset), ...others])
    },
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'a hook failed'
}

/** The replies that the engine still owes, by the type of the message that causes each. */
function createExpectedReplies(): {
  add(type: number): void
  take(type: number): void
  readonly isIdle: boolean
  /** Whether the last message ends its request, so that the engine sends its replies. */
  readonly endsRequest: boolean
  /** Whether a message since the last Sync has failed. */
  readonly hasFailed: boolean
} {
  let owed: number[] = []
  let hasFailed = false
  /** The engine reads the data of a COPY, and sends nothing before its end. */
  let isCopying = false
  const dropFirst = (type: number): void => {
    if (owed[0] === type) owed = owed.slice(1)
  }
  return {
    add(type) {
      if (ENDS_REQUEST.has(type)) owed.push(type)
      else if (ANSWERED.has(type) && !hasFailed) owed.push(type)
    },
    take(type) {
      switch (type) {
        case BackendType.readyForQuery: {
          isCopying = false
          hasFailed = false
          const end = owed.findIndex((each) => ENDS_REQUEST.has(each))
          owed = owed.slice(end + 1)
          break
        }
        case BackendType.errorResponse: {
          isCopying = false
          if (owed.length === 0 || ENDS_REQUEST.has(owed[0]!)) break
          hasFailed = true
          const end = owed.findIndex((each) => ENDS_REQUEST.has(each))
          owed = end === -1 ? [] : owed.slice(end)
          break
        }
        case BackendType.parseComplete:
          dropFirst(FrontendType.parse)
          break
        case BackendType.bindComplete:
          dropFirst(FrontendType.bind)
          break
        case BackendType.closeComplete:
          dropFirst(FrontendType.close)
          break
        case BackendType.noData:
        case BackendType.rowDescription:
          dropFirst(FrontendType.describe)
          break
        case BackendType.commandComplete:
        case BackendType.emptyQueryResponse:
        case BackendType.portalSuspended:
          isCopying = false
          dropFirst(FrontendType.execute)
          break
        case BackendType.copyInResponse:
        case BackendType.copyBothResponse:
          isCopying = true
          break
      }
    },
    get isIdle() {
      return owed.length === 0 || isCopying
    },
    get endsRequest() {
      return ENDS_REQUEST.has(owed.at(-1)!)
    },
    get hasFailed() {
      return hasFailed
    },
  }
}

const ANSWERED: ReadonlySet<number> = new Set([
  FrontendType.parse,
  FrontendType.bind,
  FrontendType.close,
  FrontendType.describe,
  FrontendType.execute,
])

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
  /** Called when bytes were taken from the queue. */
  taken(): void
}

export interface ReplyHook {
  /** Adds bytes of the engine. Throws a `ProtocolViolation` for a message that is malformed or too long. */
  push(chunk: Buffer): void
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
  const fail = (error: unknown): void => {
    isDropping = true
    settings.sendError(error)
  }
  const deliver = (message: Buffer, given: Uint8Array | undefined): void => {
    const bytes = given ?? message
    if (bytes.length > 0)
      settings.deliver(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  }
  const handle = (message: Buffer): Promise<void> | undefined => {
    if (isDropping && message[0] !== BackendType.readyForQuery) return undefined
    isDropping = false
    const greeted = isGreeted ? message : greet(message)
    if (settings.call === undefined || greeted !== message) {
      deliver(greeted, undefined)
      return undefined
    }
    try {
      const given = settings.call(message)
      if (isPromise(given)) return handleLater(message, given)
      deliver(message, given)
    } catch (error) {
      fail(error)
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
      if (!isStopped) fail(error)
    }
  }
  const run = (): void => {
    if (isRunning) return
    isRunning = true
    for (let message = queue.shift(); message !== undefined; message = queue.shift()) {
      if (isStopped) return
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
    settings.taken()
    empty?.()
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
    get queuedBytes() {
      return queuedBytes
    },
    get isDone() {
      return settings.call === undefined && isGreeted && !isRunning && reader.isEmpty
    },
    whenEmpty(done) {
      empty = done
      if (!isRunning) done()
    },
    stop() {
      isStopped = true
      queue = []
    },
  }
}

/** The error for the client, for what a hook has thrown: its SQLSTATE, detail and hint, if it has them. */
export function errorOfHook(error: unknown, isFatal: boolean): ServerError {
  if (error instanceof ProtocolViolation)
    return new ServerError('08P01', error.message, { severity: 'FATAL' })
  const { sqlState, code, message, detail, hint, severity } = Object(error) as ErrorParts
  const state = [sqlState, code].find(
    // Node also has error codes of five letters, such as EPIPE. No SQLSTATE begins with E.
    (each): each is string => typeof each === 'string' && /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(each),
  )
  const isGivenFatal = severity === 'FATAL' || severity === 'PANIC'
  return new ServerError(
    state ?? 'XX000',
    typeof message === 'string' ? message : 'internal error',
    {
      severity: isFatal || isGivenFatal ? 'FATAL' : 'ERROR',
      ...(typeof detail === 'string' ? { detail } : {}),
      ...(typeof hint === 'string' ? { hint } : {}),
    },
  )
}

interface ErrorParts {
  readonly sqlState?: unknown
  readonly code?: unknown
  readonly message?: unknown
  readonly detail?: unknown
  readonly hint?: unknown
  readonly severity?: unknown
}
