/** Relays messages between a logged-in client and its session in both directions, with back-pressure. */
import { randomInt, timingSafeEqual } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { PgIamError } from '../../core/errors.js'
import { errorResponse, parseErrorResponse, ServerError } from '../../wire/error-response.js'
import { createReplyTracker, eachMessage, ProtocolViolation } from '../../wire/framing.js'
import { createFrontendReader, MAX_MESSAGE_BYTES } from '../../wire/frontend.js'
import {
  BackendType,
  encodeMessage,
  FrontendType,
  readyForQuery,
  TransactionStatus,
} from '../../wire/messages.js'
import { fatal } from '../auth/refusal.js'
import type { EngineSession } from '../engines/engine.js'
import type { HookReply } from './connection-options.js'
import type { RewrittenReply, SessionRewriter } from './session-rewriter.js'
import { createExpectedReplies } from './expected-replies.js'
import type { BufferBudget } from './limits.js'
import { copyFail, createReplyHook, createRequestHook, errorOfHook } from './message-hooks.js'

export interface Relay {
  /** Sends the error to the client, if it is at a message boundary, and ends the session. Does nothing if it has already ended. */
  terminate(reason: ServerError): void
  /** Ends the session with the error as soon as no statement runs and no transaction is open. */
  drain(reason: ServerError): void
  /** Sends whole messages, after the message that is being sent. */
  send(messages: Buffer): void
  /** Stops the relay and ends the session. The client's stream is paused, and begins with the bytes that were not handled. */
  detach(): void
  /** Resolves when both sides have ended, with the error unless the client ended the session. Never rejects. */
  readonly ended: Promise<Error | undefined>
}

interface RelaySettings {
  /** The bytes to send to the client before the session's first messages. */
  greeting: Buffer
  /** The memory for messages of the client that the session has not read yet. */
  buffers: BufferBudget
  rewriter: SessionRewriter | undefined
  /** The hooks of the options, and the parameters that take precedence over the engine's. */
  onMessage: ((message: Buffer) => HookReply | PromiseLike<HookReply>) | undefined
  onReply:
    ((message: Buffer) => Uint8Array | undefined | PromiseLike<Uint8Array | undefined>) | undefined
  parameters: ReadonlyMap<string, string>
}

export function startRelay(
  client: Duplex,
  session: EngineSession,
  { greeting, buffers, rewriter, onMessage, onReply, parameters }: RelaySettings,
): Relay {
  /** The replies that the client waits for, of the session or of a hook. */
  const expected = createExpectedReplies()
  const reader = createFrontendReader(MAX_MESSAGE_BYTES, buffers.maxBytes, expected.add)
  const account = buffers.open(endForMemory)
  const requests = onMessage && createRequestHook({ call: onMessage, ...requestEffects() })
  /** Whether the bytes that are sent to the client are those of the session, and no hook has seen them. */
  let isOfSession = false
  /** Whether the last message is the error of a COPY, whose data the client may still be sending. */
  let isCopyError = false
  const tracker = createReplyTracker((type) => {
    isCopyError = type === BackendType.errorResponse && expected.isCopying
    expected.take(type)
    if (isOfSession) requests?.replied(type)
  })
  let replies =
    onReply === undefined && parameters.size === 0
      ? undefined
      : createReplyHook({
          call: onReply,
          parameters,
          maxMessageBytes: Math.min(buffers.maxBytes, MAX_MESSAGE_BYTES),
          deliver: (bytes) => deliverOwn(bytes, 'onReply'),
          sendError: (error) => sendHookError(error, false),
          isAsked: () => !expected.isIdle,
          isFull: () => client.writableNeedDrain,
          handled(type) {
            requests?.replied(type)
            requests?.delivered()
          },
          endCopy: (error) => toSession(copyFail(error)),
          taken: resumeSession,
        })
  let reason: Error | undefined
  /** Whether no more messages of the client are passed to the session. */
  let isOver = false
  /** Whether the last error was sent to the client, which is being closed. */
  let isErrorSent = false
  let drainReason: ServerError | undefined
  /** Messages of the caller that wait for the end of another one. */
  let pending: Buffer[] = []
  let lastError: ServerError | undefined
  let clientDone = false
  let sessionDone = false
  let settle: ((reason: Error | undefined) => void) | undefined
  const ended = new Promise<Error | undefined>((resolve) => (settle = resolve))

  const finishWhenDone = (): void => {
    if (!clientDone || !sessionDone) return
    account.close()
    settle?.(reason)
  }
  const stopHooks = (): void => {
    isOver = true
    requests?.stop()
    replies?.stop()
  }
  const endWith = (error: ServerError, close: (client: Duplex) => void): void => {
    if (isErrorSent || client.destroyed || client.writableEnded) return
    // PostgreSQL reads the Terminate only after the running statement, so the statement is cancelled.
    const mustCancel = !expected.isIdle
    reason ??= error
    isErrorSent = true
    stopHooks()
    reader.discard()
    if (tracker.atBoundary) client.write(errorResponse(error))
    session.off('data', toClient)
    close(client)
    if (mustCancel) session.cancel()
    leaveSession(session)
  }
  const terminate = (error: ServerError): void => endWith(error, closeGently)
  /** Ends the session because of the size of the client's messages. */
  const refuse = (error: ServerError): void => endWith(error, closeAfterReading)
  /** Also discards messages that the session has not read. A Terminate could then not follow, so the session is destroyed. */
  function endForMemory(): void {
    const isBehind = session.writableLength > 0
    refuse(outOfMemory(buffers.maxBytes))
    if (isBehind) session.destroy()
  }
  const failed = (error: unknown): void => {
    if (error instanceof ServerError) refuse(error)
    else if (error instanceof ProtocolViolation) {
      reason ??= new PgIamError('ERR_GATEWAY_PROTOCOL', error.message)
      terminate(fatal('08P01', error.message))
    } else {
      reason ??= error as Error
      terminate(fatal('58000', 'the session of the gateway failed'))
    }
  }
  /** Ends the session because of what the engine has sent. */
  const engineFailed = (error: unknown): void => {
    reason ??= error as Error
    terminate(
      error instanceof ProtocolViolation
        ? fatal('08P01', 'the server behind the gateway does not speak the PostgreSQL protocol')
        : fatal('58000', 'the session of the gateway failed'),
    )
  }

  // From the client to the session.

  /** Returns whether the session takes more. */
  const toSession = (messages: Buffer): void => {
    if (session.writableEnded) return
    const passed = rewriter === undefined ? messages : rewriter.toEngine(messages)
    if (passed === undefined) client.destroy()
    else if (passed.length > 0 && !session.write(passed)) client.pause()
  }
  /** Ends the session when it has got all messages of the client. */
  const endWhenIdle = (): void => {
    if (rewriter?.whenIdle === undefined) endSession(session)
    else rewriter.whenIdle(() => endSession(session))
  }
  const holdMemory = (): void => {
    const queued = (requests?.queuedBytes ?? 0) + (rewriter?.heldBytes ?? 0)
    account.hold(reader.heldBytes + session.writableLength + queued)
  }
  const fromClient = (chunk: Buffer): void => {
    if (isOver || reader.terminated) return
    try {
      const messages = reader.push(chunk) ?? NOTHING
      if (requests === undefined) {
        if (messages.length > 0) toSession(messages)
        if (reader.terminated && !isOver) endWhenIdle()
      } else {
        const all = reader.terminated ? Buffer.concat([messages, TERMINATE]) : messages
        if (all.length > 0) requests.push(all)
      }
    } catch (error) {
      failed(error)
      return
    }
    if (isOver) return
    holdMemory()
    if ((requests?.queuedBytes ?? 0) > MAX_QUEUED_BYTES) client.pause()
  }
  const resumeClient = (): void => {
    if (isOver) return
    holdMemory()
    if (!session.writableNeedDrain && (requests?.queuedBytes ?? 0) <= MAX_QUEUED_BYTES)
      client.resume()
  }
  function requestEffects(): Omit<Parameters<typeof createRequestHook>[0], 'call'> {
    return {
      forward(messages) {
        try {
          toSession(messages)
        } catch (error) {
          failed(error)
        }
      },
      async send(bytes) {
        deliverOwn(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 'onMessage')
        if (client.writableNeedDrain) await drained(client)
      },
      sendError: (error, isWhole) => sendHookError(error, isWhole),
      isAtBoundary: () => tracker.atBoundary,
      terminated: () => endWhenIdle(),
      taken: () => resumeClient(),
    }
  }

  // From the session to the client.

  function deliver(bytes: Buffer, isUnseen: boolean): void {
    if (isOver) return
    isOfSession = isUnseen
    const isWholeStart = tracker.atBoundary
    tracker.push(bytes)
    // The error with which the engine may end the session.
    lastError =
      isWholeStart && tracker.atBoundary && tracker.lastType === BackendType.errorResponse
        ? lastErrorIn(bytes)
        : undefined
    const isTaken = client.write(bytes)
    if (tracker.atBoundary) {
      for (const messages of pending.splice(0)) client.write(messages)
      requests?.delivered()
      endIfDrained()
    }
    if (!isTaken) session.pause()
  }
  /** Delivers what a hook has returned. */
  function deliverOwn(bytes: Buffer, hook: string): void {
    deliver(bytes, false)
    if (!tracker.atBoundary) terminate(fatal('XX000', `"${hook}" returned part of a message`))
  }
  const toClient = (chunk: Buffer): void => {
    try {
      const { bytes, isCut, toEngine } =
        rewriter === undefined ? UNCHANGED(chunk) : rewriter.toClient(chunk)
      if (toEngine !== undefined && !session.writableEnded) session.write(toEngine)
      if (bytes.length > 0) {
        if (replies === undefined) deliver(bytes, true)
        else pushReplies(replies, bytes)
      }
      if (isCut) client.destroy()
    } catch (error) {
      engineFailed(error)
    }
  }
  const pushReplies = (hook: NonNullable<typeof replies>, bytes: Buffer): void => {
    hook.push(bytes)
    if (hook.isDone) replies = undefined
    else if (hook.queuedBytes > MAX_QUEUED_BYTES) session.pause()
  }
  function resumeSession(): void {
    if ((replies?.queuedBytes ?? 0) <= MAX_QUEUED_BYTES && !client.writableNeedDrain)
      session.resume()
  }
  function sendHookError(thrown: unknown, isWhole: boolean): void {
    const error = errorOfHook(thrown, tracker.readyCount === 0)
    if (error.severity !== 'ERROR') {
      terminate(error)
      return
    }
    const status = tracker.transactionStatus || TransactionStatus.idle
    const ready = isWhole ? readyForQuery(String.fromCharCode(status) as 'I') : NOTHING
    deliver(Buffer.concat([errorResponse(error), ready]), false)
  }
  function endIfDrained(): void {
    if (drainReason === undefined || !expected.isIdle) return
    if (tracker.transactionStatus === TransactionStatus.idle) terminate(drainReason)
  }
  const sessionEnded = (): void => {
    if (sessionDone) return
    sessionDone = true
    const finish = (): void => {
      const hasLeft = reader.terminated || client.readableEnded
      const isSilent = !hasLeft && tracker.lastType !== BackendType.errorResponse
      stopHooks()
      if (!isErrorSent && !client.destroyed && !client.writableEnded) {
        // If the engine ended the session, its last message is an error. If the connection was lost, it is not.
        if (isSilent) reason ??= connectionLost()
        else if (!hasLeft) reason ??= lastError ?? connectionLost()
        const isSending = !hasLeft && (expected.isCopying || isCopyError)
        if (isSilent && tracker.atBoundary) client.write(errorResponse(connectionLost()))
        if (isSending) closeAfterReading(client)
        else closeGently(client)
      }
      session.destroy()
      finishWhenDone()
    }
    if (replies === undefined || isOver) finish()
    else replies.whenEmpty(finish)
  }
  /** The client sends nothing more, and may still read. */
  const clientFinished = (): void => (requests === undefined ? endWhenIdle() : requests.end())
  const clientEnded = (): void => {
    if (clientDone) return
    clientDone = true
    stopHooks()
    const leave = (): void => {
      session.off('data', toClient)
      leaveSession(session)
    }
    // What the client sent before its Terminate is carried out, also if it does not wait for the replies.
    if (reader.terminated && rewriter?.whenIdle !== undefined && !session.destroyed) {
      session.resume()
      rewriter.whenIdle(leave)
    } else leave()
    finishWhenDone()
  }

  const ofSession: Listeners = {
    data: toClient,
    end: sessionEnded,
    close: sessionEnded,
    drain: resumeClient,
    error: (error: Error) => (reason ??= error),
  }
  const ofClient: Listeners = {
    data: fromClient,
    drain: () => (replies === undefined ? resumeSession() : replies.resume()),
    end: clientFinished,
    close: clientEnded,
    error: (error: Error) => (reason ??= error),
  }
  for (const [event, listener] of Object.entries(ofSession)) session.on(event, listener)
  for (const [event, listener] of Object.entries(ofClient)) client.on(event, listener)
  // The greeting is sent together with the session's first messages, in one TLS record.
  client.cork()
  client.write(greeting)
  const uncork = (): void => client.uncork()
  session.once('data', uncork).resume()
  client.resume()
  // Either side may have ended before the listeners were added.
  if (session.destroyed) sessionEnded()
  if (client.destroyed) clientEnded()
  else if (client.readableEnded) clientFinished()
  return {
    terminate,
    drain(error) {
      drainReason ??= error
      endIfDrained()
    },
    send(messages) {
      if (isOver) return
      if (tracker.atBoundary) client.write(messages)
      else pending.push(messages)
    },
    detach() {
      client.pause()
      for (const [event, listener] of Object.entries(ofClient)) client.off(event, listener)
      isOver = true
      isErrorSent = true
      pending = []
      replies?.stop()
      const rest = Buffer.concat([requests?.stop() ?? NOTHING, reader.discard()])
      if (rest.length > 0) client.unshift(rest)
      session.off('data', toClient).off('data', uncork)
      uncork()
      clientDone = true
      leaveSession(session)
      finishWhenDone()
    },
    ended,
  }
}

function lastErrorIn(messages: Buffer): ServerError {
  let last = messages
  eachMessage(messages, (message) => void (last = message))
  return parseErrorResponse(last)
}

type Listeners = Readonly<Record<string, (argument: Buffer & Error) => void>>

/** How many bytes may wait for a hook before the sender has to wait. */
const MAX_QUEUED_BYTES = 65_536

function UNCHANGED(bytes: Buffer): RewrittenReply {
  return { bytes, isCut: false }
}

/** Resolves when more may be written. Rejects if the stream closes before. */
function drained(stream: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      stream.off('drain', succeed).off('close', fail)
    }
    const succeed = (): void => {
      settle()
      resolve()
    }
    const fail = (): void => {
      settle()
      reject(new Error('the client has left'))
    }
    if (stream.destroyed) fail()
    else stream.on('drain', succeed).on('close', fail)
  })
}

/** Sends the buffered output and closes the stream, at the latest after `LINGER_MS`. */
export function closeGently(stream: Duplex): void {
  destroyLater(stream)
  stream.resume()
  endAndDestroy(stream)
}

/**
 * Like {@link closeGently}, but for a client that may still be sending: its input is read and discarded until it stops. Closing a socket
 * with unread input would reset the connection, and the client would lose the error. The gateway's side stays open meanwhile: a client on
 * Node 20 would close with it, and its further writes would fail with EPIPE, which it might report instead of the error.
 */
function closeAfterReading(stream: Duplex): void {
  destroyLater(stream)
  const timer = setTimeout(() => endAndDestroy(stream), QUIET_MS)
  stream.on('data', () => void timer.refresh()).once('close', () => clearTimeout(timer))
  stream.resume()
}

/** A time limit that traffic does not extend. */
function destroyLater(stream: Duplex): void {
  const timer = setTimeout(() => stream.destroy(), LINGER_MS).unref()
  stream.once('close', () => clearTimeout(timer))
}

function endAndDestroy(stream: Duplex): void {
  if (stream.writable) stream.end()
  if (stream.writableFinished) stream.destroy()
  else stream.once('finish', () => stream.destroy())
}

/** Ends the session of a disconnected client. Its remaining replies are read, because otherwise the stream would not end. */
export function leaveSession(session: EngineSession): void {
  session.on('error', () => {})
  endSession(session)
  session.resume()
}

/** Sends a Terminate, because without it PostgreSQL logs a lost client connection. */
function endSession(session: EngineSession): void {
  if (!session.destroyed && !session.writableEnded) session.end(TERMINATE)
}

const TERMINATE = encodeMessage(FrontendType.terminate)
const NOTHING = Buffer.alloc(0)
const LINGER_MS = 5_000
const QUIET_MS = 250

function outOfMemory(maxBytes: number): ServerError {
  return new ServerError('53200', 'out of memory: the gateway exceeded "maxBufferedBytes"', {
    severity: 'FATAL',
    detail: `Incomplete messages and messages that the engine has not read are limited to ${maxBytes} bytes for all clients together. This session buffered most.`,
    hint: 'Raise the "maxBufferedBytes" option of the gateway, or send the data in smaller parts, for example with COPY.',
  })
}

function connectionLost(): ServerError {
  return fatal('57P01', 'terminating connection because the server behind the gateway was lost')
}

// The keys of cancel requests.

interface CancelKey {
  readonly processId: number
  readonly secretKey: number
  /** Invalidates the key when its session has ended. */
  release(): void
}

export interface CancelKeys {
  /** Generates a secret key. Process IDs are not unique if there are several engines. */
  issue(processId: number, cancel: () => void): CancelKey
  /** Cancels the session with this key. Returns `false` if there is none. The client gets no response in either case. */
  cancel(processId: number, secretKey: number): boolean
}

export function createCancelKeys(): CancelKeys {
  const sessions = new Map<number, Set<{ secretKey: number; cancel: () => void }>>()
  return {
    issue(processId, cancel) {
      const session = { secretKey: randomInt(-(2 ** 31), 2 ** 31), cancel }
      const sharing = sessions.get(processId) ?? new Set()
      sessions.set(processId, sharing.add(session))
      return {
        processId,
        secretKey: session.secretKey,
        release() {
          sharing.delete(session)
          if (sharing.size === 0 && sessions.get(processId) === sharing) sessions.delete(processId)
        },
      }
    },
    cancel(processId, secretKey) {
      for (const session of sessions.get(processId) ?? []) {
        if (!isSame(session.secretKey, secretKey)) continue
        session.cancel()
        return true
      }
      return false
    },
  }
}

/** The keys of all sessions in the process. A cancel request arrives on a separate connection. */
export const cancelKeys: CancelKeys = createCancelKeys()

function isSame(a: number, b: number): boolean {
  const bytes = Buffer.alloc(8)
  bytes.writeInt32BE(a, 0)
  bytes.writeInt32BE(b, 4)
  return timingSafeEqual(bytes.subarray(0, 4), bytes.subarray(4))
}
