/** One attempt to log in at one address: token, TCP, TLS, authentication, in this order. */
import { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  checkServerIdentity,
  connect as connectTls,
  type ConnectionOptions,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import { isNativeError } from 'node:util/types'
import { sslRequestPacket, startupPacket } from '../../wire/startup.js'
import { abortable } from '../async.js'
import { PgIamError } from '../errors.js'
import { isIpAddress } from '../options/check.js'
import type { StartupParameters } from '../options/startup-parameters.js'
import type { TlsNegotiation, VerifiedTls } from '../tls.js'
import type { Token } from '../tokens/token.js'
import { VERSION } from '../version.js'
import { authenticate, type Refusal } from './authenticate.js'

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
  resolve(): Promise<ResolvedEndpoint>
}

/** A server as one connection is to find it. A host that is another name for one has the TLS and the tokens of that. */
export interface ResolvedEndpoint {
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
  const found = await abortable(endpoint.resolve(), signal)
  const token = await abortable(found.token(), signal)
  const socket = await dialEndpoint(endpoint, found, signal)
  const abandon = (): void => void socket.destroy()
  signal.addEventListener('abort', abandon, { once: true })
  try {
    const role = token.user ?? user
    const own = mergeStartupParameters(parameters, endpoint.startupParameters)
    const startup = startupOf(new Map([...own, ['user', role]]), protocolVersion)
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

function startupOf(parameters: ReadonlyMap<string, string>, protocolVersion: number): Buffer {
  try {
    return startupPacket(parameters, protocolVersion)
  } catch (error) {
    throw new PgIamError('ERR_OPTION_INVALID', (error as Error).message)
  }
}

/** Opens a connection that is trusted. Rejects with the original error, with the provider's hint where it has one. */
export async function dialEndpoint(
  endpoint: Endpoint,
  { address = endpoint.address, tls, loadAuthorities, explainFailure }: ResolvedEndpoint,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const ca = tls.ca ?? (await abortable(Promise.resolve(loadAuthorities?.()), signal))
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

/** The `application_name` of sessions to which nobody gave one; drivers have others, or none. */
const OWN_NAME = `pg-iam/${VERSION}`

/**
 * Returns the parameters of the driver with those of the login. What was given to the driver stays; what the driver sends of its own,
 * such as a name for itself or what it read from the environment, gives way to the login.
 *
 * @param given the names that the driver's options give, in lower case. Default: all that it sends
 */
export function withLoginParameters(
  parameters: ReadonlyMap<string, string>,
  { startupParameters = {} }: { readonly startupParameters?: StartupParameters },
  given: readonly string[] = [...parameters.keys()].map((name) => name.toLowerCase()),
): Map<string, string> {
  const sent = new Map([...parameters.keys()].map((name) => [name.toLowerCase(), name]))
  const all = new Map(parameters)
  // pg (8.23) sends its fallback as the name itself, and that is worth more than none.
  const named = given.includes('fallback_application_name') ? {} : { application_name: OWN_NAME }
  for (const [name, value] of Object.entries({ ...named, ...startupParameters })) {
    if (!given.includes(name)) all.set(sent.get(name) ?? name, value)
  }
  return all
}

/** The driver may have `options` of its own; the server reads those that come last where they name the same. */
export function mergeStartupParameters(
  parameters: ReadonlyMap<string, string>,
  added: Readonly<Record<string, string>> = {},
): Map<string, string> {
  const all = new Map(parameters)
  for (const [name, value] of Object.entries(added)) {
    const given = name === 'options' ? parameters.get(name) : undefined
    all.set(name, given === undefined ? value : `${given} ${value}`)
  }
  return all
}

// Opens a TCP connection and turns it into verified TLS.

/** A network address to dial. */
export interface Address {
  readonly host: string
  readonly port: number
}

interface DialSettings {
  address: Address
  tls: VerifiedTls
  negotiation: TlsNegotiation
  /** Whether TCP asks if the other side is still there, or after how many seconds. Default: it does not. */
  keepAlive?: boolean | number
  /** Gives up and closes the socket when it fires. */
  signal: AbortSignal
}

/**
 * Resolves with a TLS connection whose certificate was verified for `tls.servername`.
 *
 * Rejects with the network's or TLS's own error, or `ERR_TLS_UNVERIFIED` where the server has no TLS. No socket is left.
 */
export async function dial({
  address,
  tls,
  negotiation,
  keepAlive = false,
  signal,
}: DialSettings): Promise<TLSSocket> {
  signal.throwIfAborted()
  // In an ES module, to import `node:net` loads all that it exports.
  const tcp = process.getBuiltinModule('node:net').connect({
    host: address.host,
    port: address.port,
    noDelay: true,
    keepAlive: keepAlive !== false,
    ...(typeof keepAlive === 'number' ? { keepAliveInitialDelay: keepAlive * 1_000 } : {}),
  })
  const abandon = (): void => void tcp.destroy()
  signal.addEventListener('abort', abandon, { once: true })
  try {
    await eventOf(tcp, 'connect')
    if (negotiation === 'postgres') await requestTls(tcp, address)
    const secured = connectTls(tlsSettings(tcp, tls, negotiation))
    try {
      await eventOf(secured, 'secureConnect')
      assertVerified(secured, tls)
      if (negotiation === 'direct') assertProtocol(secured, address)
    } catch (error) {
      secured.destroy()
      throw error
    }
    return secured
  } catch (error) {
    tcp.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', abandon)
  }
}

function tlsSettings(
  socket: Socket,
  tls: VerifiedTls,
  negotiation: TlsNegotiation,
): ConnectionOptions {
  return {
    socket,
    rejectUnauthorized: true,
    secureContext: secureContext(tls),
    // The identity check uses `servername`, else `host`; only DNS names may be sent as SNI (RFC 6066, section 3), no IP addresses
    // and no connection names of Cloud SQL.
    host: tls.servername,
    checkServerIdentity: (_host, certificate) => identityError(tls.servername, certificate),
    ...(isDnsName(tls.servername) ? { servername: tls.servername } : {}),
    // PostgreSQL refuses direct TLS without this protocol name.
    ...(negotiation === 'direct' ? { ALPNProtocols: ['postgresql'] } : {}),
  }
}

function isDnsName(name: string): boolean {
  return !isIpAddress(name) && !name.includes(':')
}

/** Asks for TLS as PostgreSQL wants it. The answer is one byte; anything behind it was written by somebody in between. */
async function requestTls(socket: Socket, { host, port }: Address): Promise<void> {
  socket.write(sslRequestPacket())
  const answer = await eventOf<Buffer>(socket, 'data')
  socket.pause()
  if (answer.length === 1 && answer[0] === ACCEPTED) return
  const reason =
    answer[0] === REFUSED
      ? 'offers no TLS'
      : 'did not answer the request for TLS as PostgreSQL does'
  throw new PgIamError('ERR_TLS_UNVERIFIED', `the server at ${host}:${port} ${reason}`, {
    hint: 'A token is only sent over verified TLS: check the address, and that TLS is on at the server.',
  })
}

const ACCEPTED = 'S'.charCodeAt(0)
const REFUSED = 'N'.charCodeAt(0)

/** Node has done this already; a token is worth looking twice. */
function assertVerified(socket: TLSSocket, { servername }: VerifiedTls): void {
  if (socket.authorized) return
  throw new PgIamError(
    'ERR_TLS_UNVERIFIED',
    `the certificate of the server is not verified for ${servername}`,
    {
      cause: socket.authorizationError,
    },
  )
}

/** A server that takes direct TLS without naming the protocol may be any TLS server: libpq (17) refuses it, too. */
function assertProtocol(socket: TLSSocket, { host, port }: Address): void {
  if (socket.alpnProtocol === 'postgresql') return
  throw new PgIamError(
    'ERR_PROTOCOL',
    `the server at ${host}:${port} did not agree to the protocol "postgresql" in its TLS handshake`,
    { hint: "Set tls.negotiation to 'postgres' unless the server supports direct TLS." },
  )
}

/** Resolves with the next `event`; rejects when the socket fails or ends before it. */
function eventOf<T>(socket: Socket, event: 'connect' | 'secureConnect' | 'data'): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off(event, succeed).off('error', fail).off('close', ended)
    }
    const succeed = (value: T): void => {
      settle()
      resolve(value)
    }
    const fail = (error: Error): void => {
      settle()
      reject(error)
    }
    const ended = (): void => {
      fail(
        Object.assign(new Error('the server closed the connection during login'), {
          code: 'ECONNRESET',
        }),
      )
    }
    socket.on(event, succeed).on('error', fail).on('close', ended)
  })
}

/** More than a process has authorities, and few enough to keep. */
const MAX_CONTEXTS = 16

const contexts = new Map<string, SecureContext>()

/**
 * Returns the context that trusts the authorities of `tls`, and makes it once for each of them. To read Amazon's bundle for RDS
 * and those of Node takes tens of milliseconds, in which the process does nothing else.
 */
export function secureContext({ ca, minVersion, maxVersion }: VerifiedTls): SecureContext {
  const versions = { minVersion, ...(maxVersion === undefined ? {} : { maxVersion }) }
  // Node keeps its own authorities itself.
  if (ca === undefined) return createSecureContext(versions)
  const key = `${minVersion} ${maxVersion} ${ca}`
  const known = contexts.get(key)
  if (known !== undefined) return known
  const [oldest] = contexts.keys()
  if (contexts.size === MAX_CONTEXTS && oldest !== undefined) contexts.delete(oldest)
  const made = createSecureContext({ ca, ...versions })
  contexts.set(key, made)
  return made
}

/**
 * Returns why a certificate, which a trusted authority has signed, is not one for `name`, or `undefined` where it is. The error has the
 * code `ERR_TLS_CERT_ALTNAME_INVALID`, as Node's own has.
 *
 * Host names are Node's to compare. The common name of a Cloud SQL instance, `PROJECT:INSTANCE`, is no host name, and from 22.23 on
 * Node knows none but those: it is compared as Google's connectors do, letter for letter, whatever other names the certificate has.
 * See https://cloud.google.com/sql/docs/postgres/authorize-ssl and
 * https://github.com/GoogleCloudPlatform/cloud-sql-nodejs-connector/blob/main/src/socket.ts
 *
 * IP addresses are OpenSSL's to compare: Node 22.23.0 and .1, 24.17 and 24.18 find no address of version 6 in any certificate
 * (https://github.com/nodejs/node/issues/64144).
 */
function identityError(name: string, certificate: PeerCertificate): Error | undefined {
  if (isIpAddress(name)) {
    const isFor = new X509Certificate(certificate.raw).checkIP(name) !== undefined
    return isFor
      ? undefined
      : mismatch(`IP: ${name} is not in the certificate's list: ${certificate.subjectaltname}`)
  }
  if (!name.includes(':')) return checkServerIdentity(name, certificate)
  // A certificate with several common names has a list of them here, and is for no instance.
  const commonName: unknown = certificate.subject?.CN
  return commonName === name
    ? undefined
    : mismatch(`the common name is not ${name}: ${String(commonName)}`)
}

function mismatch(reason: string): Error {
  return Object.assign(new Error(`the certificate of the server is for another one: ${reason}`), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    reason,
  })
}
