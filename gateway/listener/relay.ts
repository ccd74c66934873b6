/** Relays messages between a logged-in client and its session in both directions, with back-pressure. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'
import { errorResponse, ServerError } from '../../wire/error-response.js'
import { createReplyTracker, ProtocolViolation } from '../../wire/framing.js'
import { createFrontendReader, MAX_MESSAGE_BYTES } from '../../wire/frontend.js'
import { BackendType, FrontendType, encodeMessage } from '../../wire/messages.js'
import { PgIamError } from '../../core/errors.js'
import type { SessionRules } from '../auth/endpoint.js'
import { fatal } from '../auth/refusal.js'
import type { EngineSession } from '../engines/engine.js'
import { createSessionFaults, type FaultDecisions } from '../faults/session-faults.js'
import type { BufferBudget } from './limits.js'

export interface Relay {
  /** Sends the error to the client, if it is at a message boundary, and ends the session. Does nothing if it has already ended. */
  terminate(reason: ServerError): void
  /** Resolves when both sides have ended, with the error unless the client ended the session. Never rejects. */
  readonly ended: Promise<Error | undefined>
}

interface RelaySettings {
  /** The bytes to send to the client before the session's first messages. */
  greeting: Buffer
  /** The faults to inject. */
  decisions: FaultDecisions
  rules: SessionRules | undefined
  /** The memory for messages of the client that the session has not read yet. */
  buffers: BufferBudget
}

export function startRelay(
  client: Socket,
  session: EngineSession,
  { greeting, decisions, rules, buffers }: RelaySettings,
): Relay {
  const reader = createFrontendReader(MAX_MESSAGE_BYTES, buffers.maxBytes)
  const account = buffers.open(endForMemory)
  const tracker = createReplyTracker()
  const faults = createSessionFaults(decisions, tracker)
  let reason: Error | undefined
  /** Whether no more messages of the client are passed to the session. */
  let isOver = false
  /** Whether the last error was sent to the client, which is being closed. */
  let isErrorSent = false
  let clientDone = false
  let sessionDone = false
  let settle: ((reason: Error | undefined) => void) | undefined
  const ended = new Promise<Error | undefined>((resolve) => (settle = resolve))

  const finishWhenDone = (): void => {
    if (!clientDone || !sessionDone) return
    account.close()
    settle?.(reason)
  }
  const sendError = (error: ServerError): void => {
    reason ??= error
    isOver = true
    isErrorSent = true
    reader.discard()
    if (tracker.atBoundary) client.write(errorResponse(error))
    session.off('data', toClient)
  }
  const terminate = (error: ServerError): void => {
    if (isErrorSent || client.destroyed || client.writableEnded) return
    sendError(error)
    closeGently(client)
    // PostgreSQL reads the Terminate only after the running statement, so the statement is cancelled.
    if (faults.isAsked) session.cancel()
    leaveSession(session)
  }
  /** Ends the session because of the size of the client's messages. */
  const refuse = (error: ServerError): void => {
    if (isErrorSent || client.destroyed || client.writableEnded) return
    sendError(error)
    closeAfterReading(client)
    if (faults.isAsked) session.cancel()
    leaveSession(session)
  }
  /** Also discards messages that the session has not read. A Terminate could then not follow, so the session is destroyed. */
  function endForMemory(): void {
    const isBehind = session.writableLength > 0
    refuse(outOfMemory(buffers.maxBytes))
    if (isBehind) session.destroy()
  }

  const toSession = (chunk: Buffer): void => {
    if (isOver) return
    try {
      const messages = reader.push(chunk)
      const allowed = messages && (rules?.statements(messages) ?? messages)
      const passed = allowed === undefined ? NOTHING : faults.fromClient(allowed)
      if (passed === undefined) {
        client.destroy()
        return
      }
      if (passed.length > 0 && !session.write(passed)) client.pause()
    } catch (error) {
      if (error instanceof ServerError) refuse(error)
      else if (error instanceof ProtocolViolation) {
        reason ??= new PgIamError('ERR_GATEWAY_PROTOCOL', error.message)
        terminate(fatal('08P01', error.message))
      } else {
        reason ??= error as Error
        terminate(fatal('58000', 'the session of the gateway failed'))
      }
      return
    }
    account.hold(reader.heldBytes + session.writableLength)
    if (reader.terminated) endSession(session)
  }
  const toClient = (chunk: Buffer): void => {
    tracker.push(chunk)
    const { bytes, isCut } = faults.fromEngine(chunk)
    if (isCut) client.destroy()
    else if (bytes.length > 0 && !client.write(bytes)) session.pause()
  }
  const sessionEnded = (): void => {
    if (sessionDone) return
    sessionDone = true
    isOver = true
    if (!isErrorSent && !client.destroyed && !client.writableEnded) {
      // If the engine ended the session, its last message is an error. If the connection was lost, it is not.
      const silent = !reader.terminated && tracker.lastType !== BackendType.errorResponse
      if (silent) reason ??= connectionLost()
      if (silent && tracker.atBoundary) client.write(errorResponse(connectionLost()))
      closeGently(client)
    }
    session.destroy()
    finishWhenDone()
  }
  const clientEnded = (): void => {
    if (clientDone) return
    clientDone = true
    session.off('data', toClient)
    leaveSession(session)
    finishWhenDone()
  }

  session.on('data', toClient).on('end', sessionEnded).on('close', sessionEnded)
  session.on('drain', () => {
    account.hold(reader.heldBytes)
    client.resume()
  })
  session.on('error', (error) => {
    reason ??= error
  })
  client.on('drain', () => session.resume())
  client.on('end', () => endSession(session))
  client.on('close', clientEnded)
  client.on('error', (error) => {
    reason ??= error
  })
  // The greeting is sent together with the session's first messages, in one TLS record.
  client.cork()
  client.write(greeting)
  session.once('data', () => client.uncork()).resume()
  client.on('data', toSession).resume()
  // Either side may have ended before the listeners were added.
  if (session.destroyed) sessionEnded()
  if (client.destroyed) clientEnded()
  return { terminate, ended }
}

/** Sends the buffered output and closes the socket, at the latest after `LINGER_MS`. */
export function closeGently(socket: Socket): void {
  destroyLater(socket)
  socket.resume()
  socket.destroySoon()
}

/**
 * Like {@link closeGently}, but for a client that may still be sending: its input is read and discarded until it stops. Closing a socket
 * with unread input would reset the connection, and the client would lose the error. The gateway's side stays open meanwhile: a client on
 * Node 20 would close with it, and its further writes would fail with EPIPE, which it might report instead of the error.
 */
function closeAfterReading(socket: Socket): void {
  destroyLater(socket)
  socket.resume()
  socket.setTimeout(QUIET_MS, () => socket.destroySoon())
}

/** A time limit that traffic does not extend. */
function destroyLater(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref()
  socket.once('close', () => clearTimeout(timer))
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
  /** Generates a secret key. Process IDs are not unique if the upstream is several servers. */
  issue(processId: number, cancel: () => void): CancelKey
  /** Cancels the session with this key. Returns `false` if there is none. The client gets no response in either case. */
  cancel(processId: number, secretKey: number): boolean
}

export function createCancelKeys(): CancelKeys {
  const sessions = new Map<number, Set<{ secretKey: number; cancel: () => void }>>()
  return {
    issue(processId, cancel) {
      const session = { secretKey: randomBytes(4).readInt32BE(), cancel }
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

function isSame(a: number, b: number): boolean {
  const bytes = Buffer.alloc(8)
  bytes.writeInt32BE(a, 0)
  bytes.writeInt32BE(b, 4)
  return timingSafeEqual(bytes.subarray(0, 4), bytes.subarray(4))
}
