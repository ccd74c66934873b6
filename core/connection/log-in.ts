/** One attempt to log in at one address: token, TCP, TLS, authentication, in this order. */
import type { TLSSocket } from 'node:tls'
import type { Address } from '../login.js'
import type { VerifiedTls, TlsNegotiation } from '../tls/verified-tls.js'
import type { Token } from '../tokens/token.js'
import { unlessAborted } from '../unless-aborted.js'
import { startupPacket } from '../wire/startup-packet.js'
import { authenticate, type Refusal } from './authenticate.js'
import { dial } from './dial.js'

/** A place to log in to. */
export interface Endpoint {
  /** The host that tokens are for. */
  readonly host: string
  readonly address: Address
  readonly tls: VerifiedTls
  readonly negotiation: TlsNegotiation
  /** Says, for one connection, for whom TLS is to be verified and what to log in with. */
  find(): Promise<Destination>
}

/** A server as one connection is to find it. A host that is another name for one has the TLS and the tokens of that. */
export interface Destination {
  readonly tls: VerifiedTls
  token(): Promise<Token>
}

export interface LoginAttempt {
  endpoint: Endpoint
  /** The startup parameters of the driver, but for the user, which the token may name. */
  parameters: ReadonlyMap<string, string>
  protocolVersion: number
  user: string
  explainRefusal?: ((refusal: Refusal) => string | undefined) | undefined
  /** Gives up and closes the socket when it fires. */
  signal: AbortSignal
}

export interface LoggedIn {
  /** Paused; whatever comes next on it is for the driver. */
  socket: TLSSocket
  /** What the server has sent so far that is for the driver. */
  received: Buffer
  /** The SQLSTATE with which the server refused the login, where it did; `received` holds its error. */
  refusedWith?: string
}

/**
 * Logs in. The token is made before anything is dialled, so that a slow or failing issuer costs no socket and none of the
 * server's authentication timeout. Rejects with the original error and leaves no socket.
 */
export async function logIn({
  endpoint,
  parameters,
  protocolVersion,
  user,
  explainRefusal,
  signal,
}: LoginAttempt): Promise<LoggedIn> {
  const { tls, token: makeToken } = await unlessAborted(endpoint.find(), signal)
  const token = await unlessAborted(makeToken(), signal)
  const socket = await dial({ ...endpoint, tls, signal })
  const abandon = (): void => void socket.destroy()
  signal.addEventListener('abort', abandon, { once: true })
  try {
    const role = token.user ?? user
    const startup = startupPacket(new Map([...parameters, ['user', role]]), protocolVersion)
    const { received, refusedWith } = await authenticate({
      socket,
      startup,
      user: role,
      password: token.value,
      ...(explainRefusal === undefined ? {} : { explainRefusal }),
    })
    return { socket, received, ...(refusedWith === undefined ? {} : { refusedWith }) }
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', abandon)
  }
}
