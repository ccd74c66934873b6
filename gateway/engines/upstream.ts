/** The engine `upstream`: an existing PostgreSQL server, on which each client gets its own session. */
import { connect, type Socket } from 'node:net'
import { withConnectTimeout } from '../../core/async.js'
import { dial } from '../../core/connection/log-in.js'
import { type OpenConnection, parseFirstPacket } from '../../core/connection/open-connection.js'
import { PgIamError } from '../../core/errors.js'
import { type Logger, logger as loggerCheck, SILENT } from '../../core/events.js'
import {
  type Check,
  checkOptions,
  hostName,
  invalidOption,
  isPlainObject,
  port as portNumber,
  text,
} from '../../core/options/check.js'
import { type Login, loginCheck } from '../../core/login.js'
import { type TlsOptions, tlsOptions, verifiedTls } from '../../core/tls.js'
import { parseErrorResponse, ServerError } from '../../wire/error-response.js'
import { PacketReader, eachMessage, ProtocolViolation } from '../../wire/framing.js'
import { AuthenticationRequest, BackendType, HEADER_BYTES } from '../../wire/messages.js'
import {
  createPasswordClient,
  type PasswordClient,
  ScramFailure,
  UnsupportedMethod,
} from '../../wire/password-client.js'
import { CANCEL_REQUEST, sslRequestPacket, startupPacket } from '../../wire/startup.js'
import type { Engine, EngineSession, SessionRequest } from './engine.js'

/** A PostgreSQL server to open sessions on: its address, or a login of pg-iam, which gets a token for each session. */
export type UpstreamTarget = UpstreamOptions | Login

/**
 * Creates an engine on an existing PostgreSQL server: each client gets its own session there. With an address, it is logged in as the
 * client's role. With a login, it is logged in as the login's user to the login's database, with a token.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @param upstream an object or a `postgres://` URL, as the option `upstream` of `startGateway`, or a login
 * @param options `logger`: receives messages about failed connections; default: no logging
 * @throws PgIamError Rejects with `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` for an invalid address, and with `ERR_GATEWAY_ENGINE`
 * if no PostgreSQL server responds there. With a login, the server is not contacted before the first session.
 */
export async function upstreamEngine(
  upstream: UpstreamTarget | string,
  options: UpstreamEngineOptions = {},
): Promise<Engine> {
  const { logger = SILENT } = checkOptions(options, { logger: loggerCheck })
  return startUpstreamEngine({ upstream: upstreamTarget(upstream, 'upstream'), logger })
}

export interface UpstreamEngineOptions {
  logger?: Logger
}

/** The time limit for connecting to the upstream server, and the one for logging in. */
const CONNECT_TIMEOUT_MS = 10_000

/** Rejects with `ERR_GATEWAY_ENGINE` if no PostgreSQL server responds at the address. */
export async function startUpstreamEngine({
  upstream,
  logger,
}: {
  upstream: UpstreamTarget
  logger: Logger
}): Promise<Engine> {
  const settings = { connectTimeoutMs: CONNECT_TIMEOUT_MS, logger }
  if (!isLogin(upstream)) await probe(upstream, CONNECT_TIMEOUT_MS)
  const sessions = createUpstreamSessions(settings)
  return {
    name: 'upstream',
    openSession: (request) => sessions.open(upstream, request),
    close: () => sessions.close(),
  }
}

export interface UpstreamSessions {
  /** Opens a session on the server. Rejects with its error, or with 08006 if it can't be reached. */
  open(upstream: UpstreamTarget, request: SessionRequest): Promise<EngineSession>
  /** Closes all connections. */
  close(): Promise<void>
}

interface SessionsSettings {
  /** The time limit for connecting, and the one for logging in, in milliseconds. A login has its own. */
  connectTimeoutMs?: number
  logger: Logger
}

/** Opens and ends sessions on upstream servers. */
export function createUpstreamSessions({
  connectTimeoutMs = CONNECT_TIMEOUT_MS,
  logger,
}: SessionsSettings): UpstreamSessions {
  const sockets = new Set<Socket>()
  let closed = false
  let sessions = 0
  const adopt = (socket: Socket): Socket => {
    if (closed) {
      socket.destroy()
      throw new ServerError('57P01', 'the gateway is closing')
    }
    sockets.add(socket)
    socket.on('error', (error) => logger.debug('gateway: an upstream connection failed', { error }))
    socket.once('close', () => sockets.delete(socket))
    return socket
  }
  /** Resolves when the server closes the connection of the request. It has then signalled the backend. */
  const cancel = async (server: UpstreamServer, key: BackendKey): Promise<void> => {
    try {
      const socket = adopt(await server.dialForCancel(cancelRequest(key)))
      const ended = new Promise((resolve) => socket.once('close', resolve))
      const timer = setTimeout(() => socket.destroy(), connectTimeoutMs)
      socket.resume()
      await ended
      clearTimeout(timer)
    } catch (error) {
      logger.warn('gateway: a cancel request to the upstream server failed', { error })
    }
  }
  const spares = createSpares()
  return {
    async open(upstream, request) {
      const server = isLogin(upstream)
        ? serverOfLogin(upstream)
        : serverAt(upstream, connectTimeoutMs, spares)
      try {
        const { socket, key } = await server.logIn(request, adopt)
        return Object.assign(socket, {
          processId: key?.processId ?? ++sessions,
          cancel: key === undefined ? () => {} : coalesced(() => cancel(server, key)),
        })
      } catch (error) {
        return lost(server.name, error)
      }
    },
    async close() {
      closed = true
      const ends = [...sockets].map((socket) => new Promise((end) => socket.once('close', end)))
      for (const socket of sockets) socket.destroy()
      await Promise.all(ends)
    },
  }
}

/** A server, as the sessions use it. */
interface UpstreamServer {
  /** For messages. */
  readonly name: string
  /** Resolves with a socket that begins with the messages after the login. */
  logIn(
    request: SessionRequest,
    adopt: (socket: Socket) => Socket,
  ): Promise<{ readonly socket: Socket; readonly key: BackendKey | undefined }>
  /** Resolves with a socket on which the cancel request was sent. */
  dialForCancel(request: Buffer): Promise<Socket>
}

function serverAt(
  upstream: UpstreamOptions,
  connectTimeoutMs: number,
  spares: Spares,
): UpstreamServer {
  const open = (): Promise<Socket> => dialUpstream(upstream, connectTimeoutMs)
  const logInOn = async (
    socket: Socket,
    { role, database, parameters }: SessionRequest,
  ): Promise<{ socket: Socket; key: BackendKey | undefined }> => {
    const timer = setTimeout(() => socket.destroy(), connectTimeoutMs)
    try {
      const { key, greeting } = await logInUpstream(socket, {
        parameters: new Map([
          ...parameters,
          ['user', role],
          ['database', upstream.database ?? database],
        ]),
        password: upstream.password,
        allowsCleartext: isOnThisMachine(upstream) || isEncrypted(upstream),
      })
      socket.unshift(greeting)
      return { socket, key }
    } catch (error) {
      socket.destroy()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
  return {
    name: nameOf(upstream),
    async logIn(request, adopt) {
      const openAnew = async (): Promise<Socket> => adopt(await open())
      const spare = spares.take(upstream)
      // A spare may belong to a server that has restarted, or was starting up. A new connection tells what is wrong now.
      const onSpare = spare && logInOn(spare, request).catch(() => undefined)
      const opened = (await onSpare) ?? (await logInOn(await openAnew(), request))
      spares.open(upstream, openAnew)
      return opened
    },
    async dialForCancel(request) {
      const socket = await open()
      socket.end(request)
      return socket
    },
  }
}

interface Spares {
  /** Returns the spare connection to the server, if there is one, and forgets it. */
  take(upstream: UpstreamOptions): Socket | undefined
  /** Opens a spare connection to the server, unless there is one. */
  open(upstream: UpstreamOptions, openAnew: () => Promise<Socket>): void
}

/**
 * Keeps one connection to each server for the session that opens next, without a login. PostgreSQL starts a process for a new connection,
 * which takes a millisecond, and TLS takes round trips. A spare replaces one that was used, so clients without a token cause no connections.
 */
function createSpares(): Spares {
  /** `undefined` while the connection is being opened. */
  const spares = new Map<string, { release(): Socket } | undefined>()
  const keys = new WeakMap<UpstreamOptions, string>()
  const keyOf = (upstream: UpstreamOptions): string => {
    const { host, port, tls } = upstream
    const key = keys.get(upstream) ?? JSON.stringify([host, port, tls])
    keys.set(upstream, key)
    return key
  }
  const keep = (key: string, socket: Socket): void => {
    const drop = (): void => void socket.destroy()
    const timer = setTimeout(drop, SPARE_MS).unref()
    const forget = (): void => {
      clearTimeout(timer)
      spares.delete(key)
    }
    // Without a login, a server sends nothing but an error, or the end.
    socket.once('readable', drop).once('close', forget).unref()
    spares.set(key, {
      release() {
        forget()
        return socket.off('readable', drop).off('close', forget).ref()
      },
    })
  }
  return {
    take: (upstream) => spares.get(keyOf(upstream))?.release(),
    open(upstream, openAnew) {
      const key = keyOf(upstream)
      if (spares.has(key)) return
      spares.set(key, undefined)
      openAnew().then(
        (socket) => keep(key, socket),
        // The next session meets the same error, and tells it.
        () => spares.delete(key),
      )
    },
  }
}

/** Shorter than PostgreSQL's `authentication_timeout`, which is 60 s by default. */
const SPARE_MS = 5_000

/** Tokens, TLS, retries and time limits are those of the login. */
function serverOfLogin(login: Login): UpstreamServer {
  const open = async (firstPacket: Buffer): Promise<OpenConnection> => {
    const { signal } = new AbortController()
    return parseFirstPacket(firstPacket).open({ login, tls: login.tls, firstPacket, signal })
  }
  return {
    name: `${login.host}:${login.port}`,
    async logIn({ role, parameters }, adopt) {
      const all = new Map([...parameters, ['user', role]])
      const opened = await open(startupPacket(all))
      // A server that refuses closes its connection, from which its error could not be read any more.
      if (opened.refusedWith !== undefined) {
        opened.socket.destroy()
        throw refusalIn(opened.received)
      }
      // It was dialled over TCP.
      const socket = adopt(opened.socket as Socket)
      try {
        socket.unshift(opened.received)
        const { key, greeting } = await readGreeting(new PacketReader(socket))
        socket.unshift(greeting)
        return { socket, key }
      } catch (error) {
        socket.destroy()
        throw error
      }
    },
    async dialForCancel(request) {
      const { socket } = await open(request)
      return socket as Socket
    },
  }
}

/** The error among the messages of a refused login, which may begin with notices. */
function refusalIn(received: Buffer): ServerError {
  let error = new ServerError('08006', 'the server refused the login')
  eachMessage(received, (message) => {
    if (message[0] === BackendType.errorResponse) error = parseErrorResponse(message)
  })
  return error
}

function isLogin(upstream: UpstreamTarget): upstream is Login {
  return typeof (upstream as Partial<Login>).token === 'function'
}

/**
 * Runs one cancel request at a time, because each one opens a connection to the server. Requests that arrive meanwhile may be for a
 * later statement, so they cause one more request.
 */
function coalesced(cancel: () => Promise<void>): () => void {
  let isRunning = false
  let isRequested = false
  return () => {
    isRequested = true
    if (isRunning) return
    isRunning = true
    const next = async (): Promise<void> => {
      while (isRequested) {
        isRequested = false
        await cancel()
      }
      isRunning = false
    }
    void next()
  }
}

function lost(name: string, cause: unknown): Promise<never> {
  if (cause instanceof ServerError) return Promise.reject(cause)
  const { code } = cause as { code?: string }
  const reason = code === undefined ? '' : `: ${code}`
  return Promise.reject(
    new ServerError('08006', `could not reach the PostgreSQL server at ${name}${reason}`, {
      cause,
    }),
  )
}

function nameOf({ host, port = 5432 }: UpstreamOptions): string {
  return `${host}:${port}`
}

function cancelRequest({ processId, secretKey }: BackendKey): Buffer {
  const packet = Buffer.alloc(12 + secretKey.length)
  packet.writeInt32BE(packet.length, 0)
  packet.writeInt32BE(CANCEL_REQUEST, 4)
  packet.writeInt32BE(processId, 8)
  secretKey.copy(packet, 12)
  return packet
}

/**
 * Sends an SSLRequest, which every PostgreSQL server answers with one byte, and disconnects. This causes no login and no log entry. A
 * server with TLS is connected to with it, so that an untrusted certificate is found at the start.
 */
async function probe(upstream: UpstreamOptions, connectTimeoutMs: number): Promise<void> {
  let socket: Socket | undefined
  let timer: NodeJS.Timeout | undefined
  try {
    socket = await dialUpstream(upstream, connectTimeoutMs)
    if (isEncrypted(upstream)) return
    const dialled = socket
    timer = setTimeout(() => dialled.destroy(), connectTimeoutMs)
    socket.write(sslRequestPacket())
    const answer = await new PacketReader(socket).read(1)
    if (!/[SN]/.test(answer.toString('latin1')))
      throw new Error('the response is not that of a PostgreSQL server')
  } catch (cause) {
    const { host, port = 5432 } = upstream
    throw new PgIamError(
      'ERR_GATEWAY_ENGINE',
      `gateway: no PostgreSQL server responds at ${host}, port ${port}`,
      {
        cause,
        retryable: true,
        hint: isEncrypted(upstream)
          ? 'Check "upstream", that the server is running, and its certificate: "upstream.tls.ca" is its authority.'
          : 'Check "upstream" and that the server is running.',
      },
    )
  } finally {
    clearTimeout(timer)
    socket?.destroy()
  }
}

// Connections to the upstream server.

/** Resolves with a connected socket, with verified TLS unless it is off, or rejects with the original error and closes the socket. */
export async function dialUpstream(upstream: UpstreamOptions, timeoutMs: number): Promise<Socket> {
  const { host, port = 5432, tls } = upstream
  if (isEncrypted(upstream)) {
    const { negotiation = 'postgres', ...options } = typeof tls === 'object' ? tls : {}
    const what = `could not connect to ${nameOf(upstream)}`
    return withConnectTimeout({ what, timeoutMs, signal: new AbortController().signal }, (signal) =>
      dial({ address: { host, port }, tls: verifiedTls(host, options), negotiation, signal }),
    )
  }
  return new Promise((resolve, reject) => {
    const socket = host.startsWith('/')
      ? connect({ path: `${host}/.s.PGSQL.${port}` })
      : connect({ host, port, noDelay: true })
    const settle = (): void => {
      clearTimeout(timer)
      socket.off('connect', succeed).off('error', fail)
    }
    const succeed = (): void => {
      settle()
      resolve(socket)
    }
    const fail = (error: Error): void => {
      settle()
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => {
      fail(Object.assign(new Error('the connection timed out'), { code: 'ETIMEDOUT' }))
    }, timeoutMs)
    socket.once('connect', succeed).once('error', fail)
  })
}

/** By default, connections that leave this machine are encrypted. */
function isEncrypted(upstream: UpstreamOptions): boolean {
  return upstream.tls === undefined ? !isOnThisMachine(upstream) : upstream.tls !== false
}

/** Whether the server is on this machine. */
function isOnThisMachine({ host }: UpstreamOptions): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || host.startsWith('127.')
}

// Logins to the upstream server as the role of a client.

/** The BackendKeyData of a session, for cancel requests. */
interface BackendKey {
  readonly processId: number
  readonly secretKey: Buffer
}

interface UpstreamLogin {
  /** `undefined` if the server sent none. */
  readonly key: BackendKey | undefined
  /** The messages after the login, up to and including the first ReadyForQuery, without BackendKeyData. */
  readonly greeting: Buffer
}

interface UpstreamLoginSettings {
  parameters: ReadonlyMap<string, string>
  password: string | undefined
  /** Whether the password may be sent in clear text. */
  allowsCleartext: boolean
}

/** Rejects with the server's error as a `ServerError`, or with the error of a lost connection. */
export async function logInUpstream(
  socket: Socket,
  settings: UpstreamLoginSettings,
): Promise<UpstreamLogin> {
  const reader = new PacketReader(socket)
  socket.write(startupPacket(settings.parameters))
  await authenticate(socket, reader, settings)
  return readGreeting(reader)
}

/** Reads the messages after the authentication. Throws an ErrorResponse as a `ServerError`. */
async function readGreeting(reader: PacketReader): Promise<UpstreamLogin> {
  const greeting: Buffer[] = []
  let key: BackendKey | undefined
  for (;;) {
    const received = await readMessage(reader)
    if (received[0] === BackendType.backendKeyData) {
      key = { processId: received.readInt32BE(5), secretKey: received.subarray(9) }
      continue
    }
    // A login passes it on.
    if (received[0] === BackendType.authentication) continue
    greeting.push(received)
    if (received[0] === BackendType.readyForQuery) return { key, greeting: Buffer.concat(greeting) }
  }
}

/** Reads one whole message. Throws an ErrorResponse as a `ServerError`. */
export async function readMessage(reader: PacketReader): Promise<Buffer> {
  const header = await reader.read(HEADER_BYTES)
  const length = header.readInt32BE(1) - 4
  if (length < 0 || length > MAX_LOGIN_MESSAGE_BYTES)
    throw new ServerError(
      '08P01',
      'the server behind the gateway does not speak the PostgreSQL protocol',
    )
  const received = Buffer.concat([header, await reader.read(length)])
  if (received[0] === BackendType.errorResponse) throw parseErrorResponse(received)
  return received
}

const MAX_LOGIN_MESSAGE_BYTES = 1 << 20

async function authenticate(
  socket: Socket,
  reader: PacketReader,
  { parameters, password, allowsCleartext }: UpstreamLoginSettings,
): Promise<void> {
  const user = parameters.get('user') ?? ''
  const methods = allowsCleartext ? LOCAL_METHODS : REMOTE_METHODS
  const client =
    password === undefined ? undefined : createPasswordClient({ user, password, methods })
  for (;;) {
    const request = await readMessage(reader)
    if (request[0] === BackendType.noticeResponse) continue
    if (request[0] !== BackendType.authentication)
      throw notTrusted('the server requires an unsupported authentication method')
    if (request.readInt32BE(HEADER_BYTES) === AuthenticationRequest.ok) {
      if (client?.mayBeAccepted() === false)
        throw notTrusted('the server skipped SCRAM server verification')
      return
    }
    if (client === undefined) throw notTrusted('the server requires a password')
    const answer = await answerOf(client, request)
    if (answer !== undefined) socket.write(answer)
  }
}

const REMOTE_METHODS = ['scram-sha-256'] as const
const LOCAL_METHODS = ['scram-sha-256', 'cleartext'] as const

async function answerOf(client: PasswordClient, request: Buffer): Promise<Buffer | undefined> {
  try {
    return await client.answer(request)
  } catch (error) {
    if (error instanceof ScramFailure) throw error.cause
    if (error instanceof ProtocolViolation) throw notTrusted(error.message)
    if (error instanceof UnsupportedMethod)
      throw notTrusted('the server requires an unsupported authentication method')
    throw error
  }
}

function notTrusted(detail: string): ServerError {
  return new ServerError('28000', 'the PostgreSQL behind the gateway refused its login', {
    detail,
    hint: 'Configure the server to trust the gateway, for example over its Unix socket, or set "upstream.password".',
  })
}

// The `upstream` option: the address of the upstream server.

/** A PostgreSQL server that the gateway logs in to as the client's role. */
export interface UpstreamOptions {
  /** A host name, an IP address, or the absolute path of the directory that contains the Unix socket. */
  host: string
  /** Default 5432. */
  port?: number
  /** Default: the gateway's `database`. */
  database?: string
  /**
   * The password of the roles, if the server requires one: with SCRAM-SHA-256, or in clear text over TLS, over a Unix socket or on this
   * machine. Without it, the server must trust the gateway.
   */
  password?: string
  /**
   * TLS to the server. Its certificate is always verified. `false` turns TLS off. Default: on, but off for a Unix socket and on this machine.
   * Options: `ca`, `servername`, `negotiation`, `minVersion` and `maxVersion`, as those of a login.
   */
  tls?: TlsOptions | boolean
}

/**
 * The server for one client of an endpoint: an address, a `postgres://` URL or a login; or a function of the client that returns it. A
 * function is called for each client, after its login was accepted.
 */
export type EndpointUpstream =
  UpstreamTarget | string | ((client: UpstreamClient) => Awaitable<UpstreamTarget | string>)

type Awaitable<T> = T | PromiseLike<T>

/** A client for which an upstream server is chosen. */
export interface UpstreamClient {
  /** The server name (SNI) of its TLS handshake. */
  readonly serverName: string | undefined
  readonly user: string
  readonly database: string
  /** The other parameters of its startup packet. */
  readonly parameters: ReadonlyMap<string, string>
}

/** Validates the option `upstream` of an endpoint. */
export const endpointUpstream: Check<EndpointUpstream> = (value, name) =>
  typeof value === 'function' ? (value as () => string) : upstreamTarget(value, name)

/** Validates an address, a URL or a login. */
export function upstreamTarget(value: unknown, name: string): UpstreamTarget {
  return typeof (value as Partial<Login> | null)?.token === 'function'
    ? loginCheck(value, name)
    : upstreamAddress(value, name)
}

/** Validates the option, which is an object or a `postgres://` URL. */
export const upstreamAddress: Check<UpstreamOptions> = (value, name) => {
  const given = typeof value === 'string' ? fromUrl(value, name) : value
  if (!isPlainObject(given))
    throw invalidOption(name, 'an object with a host, a postgres:// URL or a login', value)
  const { host, ...rest } = checkOptions(
    given,
    { host: hostOrDirectory, port: portNumber, database: text, password: secret, tls: tlsOrOff },
    `${name}.`,
  )
  if (host === undefined) throw invalidOption(`${name}.host`, HOST, undefined)
  return { host, ...rest }
}

const tlsOrOff: Check<TlsOptions | boolean> = (value, name) =>
  typeof value === 'boolean' ? value : tlsOptions(value, name)

const HOST = 'a host name or the absolute path of a directory'

const hostOrDirectory: Check<string> = (value, name) => {
  if (typeof value === 'string' && value.startsWith('/')) return text(value, name)
  return hostName(value, name)
}

const secret: Check<string> = (value, name) => {
  // The error does not contain the value, which is a password even if it is invalid.
  if (typeof value !== 'string' || value === '' || value.includes('\0'))
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" must be a non-empty string`)
  return value
}

/** Reads the URL as libpq does, for the parameters that the gateway supports. */
function fromUrl(given: string, name: string): object {
  const url = parse(given)
  if (url === undefined || !['postgres:', 'postgresql:'].includes(url.protocol))
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" must be an object or a postgres:// URL`)
  if (url.username !== '') {
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not name a user`, {
      hint: 'The gateway logs in as the role of each client. Remove the user from the URL.',
    })
  }
  const parameters = new Map(url.searchParams)
  const tls = tlsFromUrl(parameters, name)
  const host = parameters.get('host') ?? decodeURIComponent(url.hostname).replaceAll(/[[\]]/g, '')
  const listeningPort = parameters.get('port') ?? url.port
  const database = decodeURIComponent(url.pathname.slice(1))
  parameters.delete('host')
  parameters.delete('port')
  const [unknown] = parameters.keys()
  if (unknown !== undefined)
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" has an unknown parameter in its URL`)
  return {
    host,
    ...(listeningPort === '' ? {} : { port: listeningPort }),
    ...(database === '' ? {} : { database }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    ...(tls === undefined ? {} : { tls }),
  }
}

/** Takes the parameters of TLS out of those of the URL. All modes with TLS verify the certificate. */
function tlsFromUrl(parameters: Map<string, string>, name: string): object | boolean | undefined {
  const [mode, ca, negotiation] = ['sslmode', 'sslrootcert', 'sslnegotiation'].map((parameter) => {
    const given = parameters.get(parameter)
    parameters.delete(parameter)
    return given
  })
  const options = {
    ...(ca === undefined ? {} : { ca }),
    ...(negotiation === undefined ? {} : { negotiation }),
  }
  const hasOptions = Object.keys(options).length > 0
  switch (mode) {
    case undefined:
    case 'allow':
    case 'prefer':
      return hasOptions ? options : undefined
    case 'disable':
      return false
    case 'require':
    case 'verify-ca':
    case 'verify-full':
      return hasOptions ? options : true
    default:
      throw new PgIamError('ERR_OPTION_INVALID', `"${name}" has an unknown sslmode in its URL`)
  }
}

/** Discards the parser's error, because it contains the URL, which may contain a password. */
function parse(given: string): URL | undefined {
  try {
    const url = new URL(given)
    for (const part of [url.hostname, url.pathname, url.password]) decodeURIComponent(part)
    return url
  } catch {
    return undefined
  }
}
