/** Serves one client connection, from its first byte to its end. */
import type { Socket } from 'node:net'
import type { Logger } from '../../core/events.js'
import { errorResponse, type ServerError } from '../../wire/error-response.js'
import { authenticationOk, backendKeyData } from '../../wire/messages.js'
import { fatal, type ProviderErrors, refusal, type Refusal } from '../auth/refusal.js'
import type { StatsRecorder } from '../stats.js'
import type { BufferBudget, Room } from './limits.js'
import { createDeadline, type LoggedIn, logIn, type LoginServices, servernameOf } from './login.js'
import { type CancelKeys, closeGently, leaveSession, type Relay, startRelay } from './relay.js'
import {
  parseStartup,
  readOpening,
  refusalOf,
  refused,
  type StartupRequest,
  type TlsUpgrader,
} from './startup.js'

export interface ConnectionServices extends LoginServices {
  tls: TlsUpgrader
  room: Room
  buffers: BufferBudget
  cancelKeys: CancelKeys
  stats: StatsRecorder
  loginTimeoutMs: number
  logger: Logger
}

export interface Connection {
  /** Ends the connection. A logged-in client gets an error first. */
  shutDown(): void
}

/** Serves a connection that was just accepted. An error on it ends this connection only. */
export function serveConnection(plain: Socket, services: ConnectionServices): Connection {
  const { logger } = services
  let relay: Relay | undefined
  // Errors are handled where the socket is read. Without a listener, they would end the process.
  plain.on('error', (error) => logger.debug('gateway: a connection failed', { error }))
  if (services.faults.cutOnAccept()) {
    plain.destroy()
    return { shutDown: () => {} }
  }
  const serve = async (): Promise<void> => {
    const client = await admit(plain, services)
    if (client === undefined) return
    relay = client.relay
    const reason = await relay.ended
    client.release()
    const { role, processId } = client
    logger.debug('gateway: a session ended', { role, processId, ...(reason && { reason }) })
  }
  serve().catch((error: unknown) => {
    // A safeguard: an internal error must not end the process of the caller.
    logger.error('gateway: a connection failed', { error })
    plain.destroy()
  })
  return {
    shutDown() {
      if (relay === undefined) plain.destroy()
      else relay.terminate(fatal('57P01', 'terminating connection due to administrator command'))
    },
  }
}

interface Client {
  readonly relay: Relay
  readonly role: string
  readonly processId: number
  release(): void
}

/** Logs a client in and opens its session. Returns `undefined` if it sent a cancel request, was refused or disconnected. */
async function admit(plain: Socket, services: ConnectionServices): Promise<Client | undefined> {
  const { tls, room, cancelKeys, stats, logger } = services
  const deadline = createDeadline(services.loginTimeoutMs)
  let socket: Socket = plain
  let request: StartupRequest | undefined
  const endLogin = room.beginLogin(() => {
    deadline.cut(() => tooManyLogins(request && errorsFor(socket, services).tooManyConnections()))
  })
  try {
    const opening = await deadline.race(readOpening(plain, tls), () => loginTimeout())
    if (opening.kind === 'cancel') {
      stats.cancelRequested(cancelKeys.cancel(opening.processId, opening.secretKey))
      plain.destroy()
      return undefined
    }
    if (opening.kind === 'startup') {
      socket = opening.socket
      socket.on('error', (error) => logger.debug('gateway: a connection failed', { error }))
    }
    request = parseStartup(opening.packet)
    if (opening.kind === 'unencrypted') throw tlsRequired(plain, request, services)
    const login = logIn(opening.socket, request, services)
    const timedOut = (): Error =>
      loginTimeout(fatal('57014', 'canceling authentication due to timeout'))
    // A session that is opened after the deadline is closed.
    const loggedIn = await deadline.race(login, timedOut, (late) => {
      leaveSession(late.session)
      late.place.leave()
      late.leaveSeat()
    })
    return openClient(socket, loggedIn, request, services)
  } catch (error) {
    const refusedWith = refusalOf(error)
    if (refusedWith === undefined) {
      logger.debug('gateway: a client disconnected during its login', { error })
      plain.destroy()
    } else {
      refuse(socket, refusedWith, request, services)
    }
    return undefined
  } finally {
    deadline.clear()
    endLogin()
  }
}

function loginTimeout(told?: ServerError): Error {
  return refused(refusal('login-timeout', 'the login took longer than "loginTimeoutMs"', told))
}

function tooManyLogins(told: ServerError | undefined): Error {
  const explanation =
    'it was the oldest of more than "maxPendingLogins" connections that had not logged in'
  return refused(refusal('too-many-logins', explanation, told))
}

/** The errors of the endpoint that the client has selected, or of the first endpoint. */
function errorsFor(socket: Socket, { endpoints }: ConnectionServices): ProviderErrors {
  const chosen = endpoints.choose(servernameOf(socket))
  return ('reason' in chosen ? endpoints.first : chosen).errors
}

function tlsRequired(
  { remoteAddress = '' }: Socket,
  { role, database }: StartupRequest,
  { endpoints }: ConnectionServices,
): Error {
  const told = endpoints.first.errors.tlsRequired({ role, database, address: remoteAddress })
  return refused(refusal('tls-required', 'the client started its login without TLS', told))
}

function openClient(
  socket: Socket,
  { session, endpoint, login, place, leaveSeat }: LoggedIn,
  { role, database, parameters }: StartupRequest,
  { cancelKeys, stats, faults, buffers, logger }: ConnectionServices,
): Client {
  const { processId } = session
  const key = cancelKeys.issue(processId, () => session.cancel())
  stats.loginAccepted(login)
  logger.debug('gateway: accepted a login', {
    role,
    provider: endpoint.provider,
    identity: login.identity,
    processId,
    applicationName: parameters.get('application_name'),
  })
  const greeting = [authenticationOk(), backendKeyData(processId, key.secretKey)]
  const relay = startRelay(socket, session, {
    greeting: Buffer.concat(greeting),
    decisions: faults,
    rules: endpoint.rules,
    buffers,
  })
  const opened = {
    processId,
    role,
    database,
    applicationName: parameters.get('application_name'),
  }
  const unregister = faults.registry.add(opened, (error) => relay.terminate(error))
  place.leave()
  return {
    relay,
    role,
    processId,
    release() {
      unregister()
      key.release()
      leaveSeat()
      stats.sessionEnded()
    },
  }
}

function refuse(
  socket: Socket,
  { reason, explanation, told }: Refusal,
  request: StartupRequest | undefined,
  { stats, logger }: ConnectionServices,
): void {
  stats.loginRefused(reason)
  logger.warn(`gateway: refused a login: ${explanation}`, {
    reason,
    ...(request && { role: request.role, database: request.database }),
    servername: servernameOf(socket),
    remotePort: socket.remotePort,
  })
  if (told === undefined) {
    socket.destroy()
    return
  }
  socket.write(errorResponse(told))
  closeGently(socket)
}
