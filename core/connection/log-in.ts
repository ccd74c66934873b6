/** One login attempt at one address: token, TCP, TLS, authentication, in this order. */
import type { Socket } from 'node:net'
import type { ConnectionOptions, PeerCertificate, SecureContext, TLSSocket } from 'node:tls'
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
import type { ConnectionSocket } from './socket-layer.js'

/** A server to log in to. */
export interface Endpoint {
  /** The host that tokens are created for. */
  readonly host: string
  readonly address: Address
  /** The address of the login's options, which is then `address`, too. */
  readonly connectTo?: Address
  readonly tls: VerifiedTls
  readonly negotiation: TlsNegotiation
  /** Startup parameters in addition to the driver's. */
  readonly startupParameters?: Readonly<Record<string, string>>
  /** As in `Login`. */
  readonly keepAlive?: boolean | number
  /** Resolves the server for one connection: its address, TLS settings and tokens. */
  resolve(): Promise<ResolvedEndpoint>
}

/** The server for one connection. A host that is a CNAME has the TLS settings and tokens of its target. */
export interface ResolvedEndpoint {
  /** Default: the endpoint's. */
  readonly address?: Address
  readonly tls: VerifiedTls
  /** Loads the CAs to trust if `tls` has none; `undefined` means those shipped with Node. */
  loadAuthorities?(): Promise<string | undefined>
  token(): Promise<Token>
  /** Returns a hint for a connection that could not be opened or whose certificate is not trusted. */
  explainFailure?(error: unknown): string | undefined
}

export interface LoginAttempt {
  endpoint: Endpoint
  /** The driver's startup parameters, without the user, which the token may name. */
  parameters: ReadonlyMap<string, string>
  protocolVersion: number
  user: string
  /** Whether tokens are ordinary passwords, so that the server may also request SCRAM. */
  tokensArePasswords?: boolean
  explainRefusal?: ((refusal: Refusal) => string | undefined) | undefined
  /** Opens the verified connection. Default: TLS over TCP. */
  dial?: Dial | undefined
  /** Aborts the attempt and closes its socket. */
  signal: AbortSignal
}

/** Opens a verified connection to an endpoint. Rejects with the original error, and closes its socket then, and when `signal` aborts. */
export type Dial = (
  endpoint: Endpoint,
  resolved: ResolvedEndpoint,
  signal: AbortSignal,
) => Promise<ConnectionSocket>

export interface LoggedIn {
  /** Paused. Further data is for the driver. */
  socket: ConnectionSocket
  /** The data received so far that is for the driver. */
  received: Buffer
  /** The SQLSTATE if the server rejected the login; `received` then has its error. */
  refusedWith?: string
}

/**
 * Logs in. The token is created before the server is dialled, so that a slow or failing issuer neither holds a socket nor uses up the
 * server's authentication timeout. Rejects with the original error and closes its socket.
 */
export async function logIn({
  endpoint,
  parameters,
  protocolVersion,
  user,
  tokensArePasswords = false,
  explainRefusal,
  dial: open = dialEndpoint,
  signal,
}: LoginAttempt): Promise<LoggedIn> {
  const resolved = await abortable(endpoint.resolve(), signal)
  const token = await abortable(resolved.token(), signal)
  const socket = await open(endpoint, resolved, signal)
  const abandon = (): void => void socket.destroy()
  signal.addEventListener('abort', abandon, { once: true })
  try {
    const role = token.user ?? user
    const merged = mergeStartupParameters(parameters, endpoint.startupParameters)
    const startup = startupOf(new Map([...merged, ['user', role]]), protocolVersion)
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
    throw causeOf(error, signal)
  } finally {
    signal.removeEventListener('abort', abandon)
  }
}

/** An attempt that is aborted destroys its socket, which looks as if the server had closed it. */
function causeOf(error: unknown, signal: AbortSignal): unknown {
  return signal.aborted ? signal.reason : error
}

function startupOf(parameters: ReadonlyMap<string, string>, protocolVersion: number): Buffer {
  try {
    return startupPacket(parameters, protocolVersion)
  } catch (error) {
    throw new PgIamError('ERR_OPTION_INVALID', (error as Error).message)
  }
}

/**
 * Opens a verified TLS connection. Rejects with the original error, and adds the provider's hint if there is one.
 *
 * @param alpn the protocol to start TLS for at once, in place of `endpoint.negotiation`
 */
export async function dialEndpoint(
  endpoint: Endpoint,
  { address = endpoint.address, tls, loadAuthorities, explainFailure }: ResolvedEndpoint,
  signal: AbortSignal,
  alpn?: 'http/1.1',
): Promise<TLSSocket> {
  const ca = tls.ca ?? (await abortable(Promise.resolve(loadAuthorities?.()), signal))
  const trusted = ca === undefined ? tls : { ...tls, ca }
  try {
    const negotiation = alpn ?? endpoint.negotiation
    return await dial({ ...endpoint, address, negotiation, tls: trusted, signal })
  } catch (error) {
    throw withHint(error, explainFailure?.(error))
  }
}

/** Adds the hint to the original error, as PostgreSQL's and pg-iam's errors have it. */
function withHint(error: unknown, hint: string | undefined): unknown {
  return hint !== undefined && isNativeError(error) && !('hint' in error)
    ? Object.assign(error, { hint })
    : error
}

/** The `application_name` of sessions that are given none. Drivers have their own default, or none. */
const DEFAULT_APPLICATION_NAME = `pg-iam/${VERSION}`

/**
 * Returns the driver's parameters merged with the login's. Parameters that the caller gave to the driver take precedence over the login's;
 * the driver's own defaults, such as its name or values from the environment, do not.
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
  // pg (8.23) sends `fallback_application_name` as a parameter. It takes precedence over our default.
  const named = given.includes('fallback_application_name')
    ? {}
    : { application_name: DEFAULT_APPLICATION_NAME }
  for (const [name, value] of Object.entries({ ...named, ...startupParameters })) {
    if (!given.includes(name)) all.set(sent.get(name) ?? name, value)
  }
  return all
}

/** Appends `options` to those of the driver. The server applies the last one of duplicate settings. */
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

// Opens a TCP connection and upgrades it to verified TLS.

/** A network address to dial. */
export interface Address {
  readonly host: string
  readonly port: number
}

interface DialSettings {
  address: Address
  tls: VerifiedTls
  /** `http/1.1`: direct TLS for that protocol. */
  negotiation: TlsNegotiation | 'http/1.1'
  /** Whether TCP keepalive is on, or its idle time in seconds. Default: off. */
  keepAlive?: boolean | number
  /** Aborts the attempt and closes its socket. */
  signal: AbortSignal
}

/**
 * Resolves with a TLS connection whose certificate was verified for `tls.servername`.
 *
 * Rejects with the original network or TLS error, or with `ERR_TLS_UNVERIFIED` if the server has no TLS, and closes its socket.
 */
export async function dial({
  address,
  tls,
  negotiation,
  keepAlive = false,
  signal,
}: DialSettings): Promise<TLSSocket> {
  signal.throwIfAborted()
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
    const secured = nodeTls().connect(tlsSettings(tcp, tls, negotiation))
    try {
      await eventOf(secured, 'secureConnect').catch((error: unknown) => {
        throw negotiation === 'direct' ? explainDirectTls(error, address) : error
      })
      assertVerified(secured, tls)
      if (negotiation === 'direct') assertProtocol(secured, address)
    } catch (error) {
      secured.destroy()
      throw error
    }
    return secured
  } catch (error) {
    tcp.destroy()
    throw causeOf(error, signal)
  } finally {
    signal.removeEventListener('abort', abandon)
  }
}

function tlsSettings(
  socket: Socket,
  tls: VerifiedTls,
  negotiation: DialSettings['negotiation'],
): ConnectionOptions {
  return {
    socket,
    rejectUnauthorized: true,
    secureContext: secureContext(tls),
    // The identity check uses `servername`, else `host`. SNI allows only DNS names (RFC 6066, section 3): no IP addresses, and no
    // connection names of Cloud SQL.
    host: tls.servername,
    checkServerIdentity: (_host, certificate) => identityError(tls.servername, certificate),
    ...(isDnsName(tls.servername) ? { servername: tls.servername } : {}),
    // PostgreSQL rejects direct TLS without this ALPN protocol.
    ...(negotiation === 'direct' ? { ALPNProtocols: ['postgresql'] } : {}),
    ...(negotiation === 'http/1.1' ? { ALPNProtocols: [negotiation] } : {}),
  }
}

/** Loaded on use: importing `node:tls` takes milliseconds, also for a program that only signs tokens. */
function nodeTls(): typeof import('node:tls') {
  return process.getBuiltinModule('node:tls')
}

function isDnsName(name: string): boolean {
  return !isIpAddress(name) && !name.includes(':')
}

/** Sends an SSLRequest. The reply is one byte. Further bytes before the TLS handshake would come from an attacker in between. */
async function requestTls(socket: Socket, { host, port }: Address): Promise<void> {
  socket.write(sslRequestPacket())
  const answer = await eventOf<Buffer>(socket, 'data')
  socket.pause()
  if (answer.length === 1 && answer[0] === ACCEPTED) return
  const reason =
    answer[0] === REFUSED ? 'offers no TLS' : 'did not answer the SSLRequest as PostgreSQL does'
  throw new PgIamError('ERR_TLS_UNVERIFIED', `the server at ${host}:${port} ${reason}`, {
    hint: 'Check the address, and that TLS is enabled at the server: a token is only sent over verified TLS.',
  })
}

const ACCEPTED = 'S'.charCodeAt(0)
const REFUSED = 'N'.charCodeAt(0)

/**
 * A server that does not support direct TLS interprets the handshake as an oversized startup packet. PostgreSQL before 17 then closes the
 * connection without a message. Others reply with an unencrypted one. The code of the error is kept, since a lost connection looks the same.
 */
function explainDirectTls(error: unknown, { host, port }: Address): unknown {
  const { code } = (error ?? {}) as { code?: unknown }
  const isClosed = code === 'ECONNRESET' || code === 'EPIPE'
  if (!isClosed && !NOT_TLS.has(String(code))) return error
  const what = isClosed ? 'closed the connection' : 'did not reply with TLS'
  return Object.assign(
    new Error(`the server at ${host}:${port} ${what} when the client started TLS directly`, {
      cause: error,
    }),
    {
      code,
      hint: "If the server only supports TLS after an SSLRequest, as PostgreSQL before version 17, set tls: { negotiation: 'postgres' }.",
    },
  )
}

/** OpenSSL's errors for data that is not a TLS record. */
const NOT_TLS: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
])

/** Node has checked this already. The second check guards the token against a regression. */
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

/** A server that accepts direct TLS without this ALPN protocol may be any TLS server. libpq (17) rejects it too. */
function assertProtocol(socket: TLSSocket, { host, port }: Address): void {
  if (socket.alpnProtocol === 'postgresql') return
  throw new PgIamError(
    'ERR_PROTOCOL',
    `the server at ${host}:${port} did not negotiate the protocol "postgresql" in its TLS handshake`,
    { hint: "Set tls.negotiation to 'postgres' unless the server supports direct TLS." },
  )
}

/** Resolves with the next `event`. Rejects if the socket fails or closes first. */
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

/** The size of the cache: more than a process usually needs. */
const MAX_CONTEXTS = 16

const contexts = new Map<string, SecureContext>()

/**
 * Returns a context that trusts the CAs of `tls`, cached by CA and versions. Parsing Amazon's bundle for RDS and those of Node blocks the
 * process for tens of milliseconds.
 */
export function secureContext({ ca, minVersion, maxVersion }: VerifiedTls): SecureContext {
  const versions = { minVersion, ...(maxVersion === undefined ? {} : { maxVersion }) }
  // Node caches its own CAs.
  if (ca === undefined) return nodeTls().createSecureContext(versions)
  const key = `${minVersion} ${maxVersion} ${ca}`
  const known = contexts.get(key)
  if (known !== undefined) return known
  const [oldest] = contexts.keys()
  if (contexts.size === MAX_CONTEXTS && oldest !== undefined) contexts.delete(oldest)
  const made = nodeTls().createSecureContext({ ca, ...versions })
  contexts.set(key, made)
  return made
}

/**
 * Returns why a certificate, which is signed by a trusted CA, does not match `name`, or `undefined` if it does. The error has the code
 * `ERR_TLS_CERT_ALTNAME_INVALID`, as Node's.
 *
 * Host names are checked by Node. The common name of a Cloud SQL instance, `PROJECT:INSTANCE`, is not a host name, and Node rejects it
 * since 22.23. It is compared as in Google's connectors: exactly, and whatever other names the certificate has. See
 * https://cloud.google.com/sql/docs/postgres/authorize-ssl and
 * https://github.com/GoogleCloudPlatform/cloud-sql-nodejs-connector/blob/main/src/socket.ts
 *
 * IP addresses are checked by OpenSSL: Node 22.23.0, 22.23.1, 24.17 and 24.18 do not match IPv6 addresses in any certificate
 * (https://github.com/nodejs/node/issues/64144).
 */
function identityError(name: string, certificate: PeerCertificate): Error | undefined {
  if (isIpAddress(name)) {
    const { X509Certificate } = process.getBuiltinModule('node:crypto')
    const isFor = new X509Certificate(certificate.raw).checkIP(name) !== undefined
    return isFor
      ? undefined
      : mismatch(`IP: ${name} is not in the certificate's list: ${certificate.subjectaltname}`)
  }
  if (!name.includes(':')) return nodeTls().checkServerIdentity(name, certificate)
  // For a certificate with several common names this is an array, which matches no instance.
  const commonName: unknown = certificate.subject?.CN
  return commonName === name
    ? undefined
    : mismatch(`the common name is not ${name}: ${String(commonName)}`)
}

function mismatch(reason: string): Error {
  return Object.assign(new Error(`the server's certificate does not match: ${reason}`), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    reason,
  })
}
