/** The login of one client: startup packet, password, verdict, session. */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { PROTOCOL_3 } from '../../core/wire/startup-packet.js'
import type { AcceptedLogin, LoginAttempt, Verdict } from '../auth/aurora-dsql-verifier.js'
import { fatal, refusal } from '../auth/refusal.js'
import type { Engine, EngineSession } from '../engines/engine.js'
import type { FaultHooks, LoginPlace } from '../faults/faults.js'
import {
  authenticationCleartextPassword,
  negotiateProtocolVersion,
} from '../wire/backend-messages.js'
import { FrontendType } from '../wire/message-types.js'
import { createPacketReader } from '../wire/packet-reader.js'
import { ServerError } from '../wire/server-error.js'
import { refused } from './login-refused.js'
import type { StartupRequest } from './startup-request.js'

export interface LoginServices {
  verify: (attempt: LoginAttempt) => Verdict
  engine: Engine
  /** Tells whether there is room for one more session. */
  hasRoom: () => boolean
  faults: FaultHooks
}

export interface LoggedIn {
  readonly session: EngineSession
  readonly token: AcceptedLogin
  readonly place: LoginPlace
}

/**
 * Takes a client from its startup request to an open session; nothing of the answer is sent yet.
 *
 * Rejects with a refusal (see `refusalOf`), or with the error of a connection that broke.
 */
export async function logIn(
  socket: TLSSocket,
  request: StartupRequest,
  { verify, engine, hasRoom, faults }: LoginServices,
): Promise<LoggedIn> {
  if (!hasRoom()) throw tooManyConnections()
  const place = faults.admitLogin()
  if (place instanceof ServerError) throw refused(refusal('fault', 'a fault refused it', place))
  try {
    return { ...(await logInWithPlace(socket, request, { verify, engine, faults })), place }
  } catch (error) {
    place.leave()
    throw error
  }
}

async function logInWithPlace(
  socket: TLSSocket,
  request: StartupRequest,
  { verify, engine, faults }: Omit<LoginServices, 'hasRoom'>,
): Promise<Omit<LoggedIn, 'place'>> {
  if (request.needsNegotiation)
    socket.write(negotiateProtocolVersion(PROTOCOL_3, request.unknownOptions))
  socket.write(authenticationCleartextPassword())
  const { role, database, parameters } = request
  const token = await readPassword(socket)
  const { isCut } = await faults.afterToken()
  if (isCut) throw refused(refusal('fault', 'a fault cut the connection'))
  const verdict = verify({ token, role, database, servername: servernameOf(socket) })
  if ('refused' in verdict) throw refused(verdict.refused)
  const session = await openSession(engine, { role, database, parameters })
  return { session, token: verdict.accepted }
}

/** The server name of the client's TLS handshake: the cluster that it means to talk to. */
export function servernameOf(socket: Socket): string | undefined {
  const { servername } = socket as { servername?: string | false | null }
  return servername || undefined
}

/** Reads one password message. Its limit is far above any token: those with session tokens have some 2 kB. */
async function readPassword(socket: Socket): Promise<string> {
  const reader = createPacketReader(socket)
  const header = await reader.read(5)
  const type = header[0]!
  if (type !== FrontendType.password)
    throw violation(`expected password response, got message type ${type}`)
  const length = header.readInt32BE(1) - 4
  if (length < 1 || length > MAX_PASSWORD_BYTES) throw violation('invalid password packet size')
  const body = await reader.read(length)
  if (body.indexOf(0) !== length - 1) throw violation('invalid password packet size')
  return body.toString('utf8', 0, length - 1)
}

const MAX_PASSWORD_BYTES = 65_536

async function openSession(
  engine: Engine,
  request: Parameters<Engine['openSession']>[0],
): Promise<EngineSession> {
  try {
    return await engine.openSession(request)
  } catch (error) {
    const { sqlState, message, detail, hint } =
      error instanceof ServerError
        ? error
        : fatal('58000', 'the PostgreSQL behind the gateway could not open a session')
    const told = new ServerError(sqlState, message, {
      severity: 'FATAL',
      ...(detail === undefined ? {} : { detail }),
      ...(hint === undefined ? {} : { hint }),
    })
    throw refused(
      refusal('engine-refused', `the engine opened no session: ${messageOf(error)}`, told),
    )
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'for an unknown reason'
}

/** Text and SQLSTATE as in https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html */
function tooManyConnections(): Error {
  const told = fatal('53300', 'Unable to accept connection, too many open connections.')
  return refused(refusal('too-many-connections', '"maxConnections" are open already', told))
}

function violation(explanation: string): Error {
  return refused(refusal('protocol-violation', explanation, fatal('08P01', explanation)))
}
