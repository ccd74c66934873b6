/** Carries messages between a client that is logged in and its session, both ways at the pace of the slower side. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'
import { errorResponse, ServerError } from '../../wire/error-response.js'
import { createReplyTracker } from '../../wire/framing.js'
import { createFrontendReader, MAX_MESSAGE_BYTES } from '../../wire/frontend.js'
import { BackendType, FrontendType, encodeMessage } from '../../wire/messages.js'
import { PgIamError } from '../../core/errors.js'
import type { SessionRules } from '../auth/endpoint.js'
import { fatal } from '../auth/refusal.js'
import type { EngineSession } from '../engines/engine.js'
import { createSessionFaults, type FaultDecisions } from '../faults/session-faults.js'
import type { BufferBudget } from './limits.js'

export interface Relay {
  /** Tells the client why, where a message may stand, and ends the session. Does nothing on one that has ended. */
  terminate(reason: ServerError): void
  /** Resolves, once both sides have ended, with what ended it where that was not the client's wish. Never rejects. */
  readonly ended: Promise<Error | undefined>
}

interface RelaySettings {
  /** What goes to the client in front of the session's first messages. */
  greeting: Buffer
  /** What is to fail on purpose. */
  decisions: FaultDecisions
  rules: SessionRules | undefined
  /** The memory for what the client has sent and the session has not taken. */
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
  /** Whether nothing more of the client goes to the session. */
  let isOver = false
  /** Whether the client has been told why it ends, and is being closed. */
  let isTold = false
  let clientDone = false
  let sessionDone = false
  let settle: ((reason: Error | undefined) => void) | undefined
  const ended = new Promise<Error | undefined>((resolve) => (settle = resolve))

  const finishWhenDone = (): void => {
    if (!clientDone || !sessionDone) return
    account.close()
    settle?.(reason)
  }
  const tell = (error: ServerError): void => {
    reason ??= error
    isOver = true
    isTold = true
    reader.discard()
    if (tracker.atBoundary) client.write(errorResponse(error))
    session.off('data', toClient)
  }
  const terminate = (error: ServerError): void => {
    if (isTold || client.destroyed || client.writableEnded) return
    tell(error)
    closeGently(client)
    // PostgreSQL ends a session at its statement's end, which an administrator does not wait for.
    if (faults.isAsked) session.cancel()
    leaveSession(session)
  }
  /** Ends the session for how much its client sends, or has sent. */
  const refuse = (error: ServerError): void => {
    if (isTold || client.destroyed || client.writableEnded) return
    tell(error)
    closeAfterReading(client)
    if (faults.isAsked) session.cancel()
    leaveSession(session)
  }
  /** What the session has not taken goes, too, and with it what could be said to the engine. */
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
      else {
        reason ??= new PgIamError('ERR_GATEWAY_PROTOCOL', (error as Error).message)
        terminate(fatal('08P01', (error as Error).message))
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
    if (!isTold && !client.destroyed && !client.writableEnded) {
      // A session that ends by itself has said why in a last error; one that broke off has not.
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
  // What the session says first goes with the greeting: one record of TLS, one wake-up of the client.
  client.cork()
  client.write(greeting)
  session.once('data', () => client.uncork()).resume()
  client.on('data', toSession).resume()
  // Either side may have ended while nobody listened.
  if (session.destroyed) sessionEnded()
  if (client.destroyed) clientEnded()
  return { terminate, ended }
}

/** Sends what is left to send, then closes; at the latest after a while, should the client not take it. */
export function closeGently(socket: Socket): void {
  destroyLater(socket)
  socket.resume()
  socket.destroySoon()
}

/**
 * The same for a client that may be in the middle of sending: what it sends is read and forgotten until it sends nothing more. To close
 * on bytes that nobody reads would reset the connection, and what was said last would be lost. The gateway's half stays open meanwhile: a
 * client of Node 20 ends with it, and its further writes fail with EPIPE, which it may report in place of the reason.
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

/** Ends a session whose client is gone. It reaches its end only when somebody reads the rest of its replies. */
export function leaveSession(session: EngineSession): void {
  session.on('error', () => {})
  endSession(session)
  session.resume()
}

/** Without a Terminate, PostgreSQL would log a client that vanished. */
function endSession(session: EngineSession): void {
  if (!session.destroyed && !session.writableEnded) session.end(TERMINATE)
}

const TERMINATE = encodeMessage(FrontendType.terminate)
const NOTHING = Buffer.alloc(0)
const LINGER_MS = 5_000
const QUIET_MS = 250

function outOfMemory(maxBytes: number): ServerError {
  return new ServerError('53200', 'out of memory: "maxBufferedBytes" of the gateway is used up', {
    severity: 'FATAL',
    detail: `Messages that have not come whole, or that the engine has not taken, may take ${maxBytes} bytes in all. This session held most.`,
    hint: 'Raise the "maxBufferedBytes" option of the gateway, or send the data in smaller parts, for example with COPY.',
  })
}

function connectionLost(): ServerError {
  return fatal('57P01', 'terminating connection because the server behind the gateway was lost')
}

// The keys by which clients name the session whose query they want cancelled.

interface CancelKey {
  readonly processId: number
  readonly secretKey: number
  /** Takes the key back when its session has ended. */
  release(): void
}

export interface CancelKeys {
  /** Makes a secret key beside the process ID, which other sessions may have, too, where the upstream is several servers. */
  issue(processId: number, cancel: () => void): CancelKey
  /** Cancels the session that has this key. Returns `false` when none has; the client is told nothing either way. */
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
