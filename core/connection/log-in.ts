/** One attempt to log in at one address: token, TCP, TLS, authentication, in this order. */
import type { TLSSocket } from 'node:tls'
import { isNativeError } from 'node:util/types'
import type { Address } from '../login.js'
import type { VerifiedTls, TlsNegotiation } from '../tls/verified-tls.js'
import type { Token } from '../tokens/token.js'
import { unlessAborted } from '../unless-aborted.js'
import { startupPacket } from '../wire/startup-packet.js'
import { withAdded } from './added-parameters.js'
import { authenticate, type Refusal } from './authenticate.js'
import { dial } from './dial.js'

/** A place to log in to. */
export interface Endpoint {
  /** The host that tokens are for. */
  readonly host: string
  readonly address: Address
  readonly tls: VerifiedTls
  readonly negotiation: TlsNegotiation
  /** Startup parameters beside those of the driver. */
  readonly startupParameters?: Readonly<Record<string, string>>
  /** As in the login. */
  readonly keepAlive?: boolean | number
  /** Says, for one connection, for whom TLS is to be verified and what to log in with. */
  find(): Promise<Destination>
}

/** A server as one connection is to find it. A host that is another name for one has the TLS and the tokens of that. */
export interface Destination {
  /** Default: that of the endpoint. */
  readonly address?: Address
  readonly tls: VerifiedTls
  /** Loads the authorities to trust where `tls` names none; `undefined` for those that ship with Node. */
  loadAuthorities?(): Promise<string | undefined>
  token(): Promise<Token>
  /** What to do about a connection that could not be opened, or was not trusted. */
  explainFailure?(error: unknown): string | undefined
}

export interface LoginAttempt {
  endpoint: Endpoint
  /** The startup parameters of the driver, but for the user, which the token may name. */
  parameters: ReadonlyMap<string, string>
  protocolVersion: number
  user: string
  /** Whether tokens are ordinary passwords, which a server may ask for by SCRAM, too. */
  tokensArePasswords?: boolean
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
  tokensArePasswords = false,
  explainRefusal,
  signal,
}: LoginAttempt): Promise<LoggedIn> {
  const found = await unlessAborted(endpoint.find(), signal)
  const token = await unlessAborted(found.token(), signal)
  const socket = await dialDestination(endpoint, found, signal)
  const abandon = (): void => void socket.destroy()
  signal.addEventListener('abort', abandon, { once: true })
  try {
    const role = token.user ?? user
    const own = withAdded(parameters, endpoint.startupParameters)
    const startup = startupPacket(new Map([...own, ['user', role]]), protocolVersion)
    const { received, refusedWith } = await authenticate({
      socket,
      startup,
      user: role,
      password: token.value,
      isOrdinaryPassword: tokensArePasswords,
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

/** Opens a connection that is trusted. Rejects with the original error, with the provider's hint where it has one. */
export async function dialDestination(
  endpoint: Endpoint,
  { address = endpoint.address, tls, loadAuthorities, explainFailure }: Destination,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const ca = tls.ca ?? (await unlessAborted(Promise.resolve(loadAuthorities?.()), signal))
  const trusted = ca === undefined ? tls : { ...tls, ca }
  try {
    return await dial({ ...endpoint, address, tls: trusted, signal })
  } catch (error) {
    throw withHint(error, explainFailure?.(error))
  }
}

/** The original error, which says what to do, as those of PostgreSQL and ours do. */
function withHint(error: unknown, hint: string | undefined): unknown {
  return hint !== undefined && isNativeError(error) && !('hint' in error)
    ? Object.assign(error, { hint })
    : error
}
