/** Opens one physical connection of a login: token, TCP, TLS, authentication, in this order. */
import type { TLSSocket } from 'node:tls'
import type { Login } from '../login.js'
import type { VerifiedTls } from '../tls/verified-tls.js'
import { startupPacket, startupParameters } from '../wire/startup-packet.js'
import { PgIamError } from '../errors.js'
import { authenticate } from './authenticate.js'
import { dial } from './dial.js'

export interface ConnectionRequest {
  login: Login
  tls: VerifiedTls
  /** What the driver wrote first: its startup packet or a cancel request. */
  firstPacket: Buffer
  /** Gives up and closes the socket when it fires. */
  signal: AbortSignal
}

export interface OpenConnection {
  /** Paused; whatever comes next on it is for the driver. */
  socket: TLSSocket
  /** What the server has sent so far that is for the driver. */
  received: Buffer
}

/**
 * Logs in with a token of `login`, as its user and to its database, with the other parameters of the driver's startup packet.
 *
 * The token is made before anything is dialled, so that a slow or failing issuer costs no socket and none of the server's
 * authentication timeout. Rejects with the original error and leaves no socket, also when `signal` fires.
 */
export async function openConnection(request: ConnectionRequest): Promise<OpenConnection> {
  const { login, firstPacket } = request
  const parameters = startupParameters(firstPacket)
  if (parameters === undefined)
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      'the driver did not send a startup packet of PostgreSQL',
    )
  const token = await login.token()
  const user = token.user ?? login.user ?? parameters.get('user') ?? ''
  parameters.set('user', user).set('database', login.database)
  const socket = await dialLogin(request)
  try {
    const startup = startupPacket(parameters, firstPacket.readInt32BE(4))
    const received = await authenticate({ socket, startup, user, password: token.value })
    return { socket, received }
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/** Sends a cancel request, which needs TLS but no token. */
export async function openForCancel(request: ConnectionRequest): Promise<OpenConnection> {
  const socket = await dialLogin(request)
  socket.write(request.firstPacket)
  return { socket, received: Buffer.alloc(0) }
}

function dialLogin({ login, tls, signal }: ConnectionRequest): Promise<TLSSocket> {
  const address = login.connectTo ?? { host: login.host, port: login.port }
  return dial({ address, tls, negotiation: login.tlsNegotiation, signal })
}
