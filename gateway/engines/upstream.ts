/** The engine `upstream`: an existing PostgreSQL server, on which each client gets its own session. */
import { connect, type Socket } from 'node:net'
import { PgIamError } from '../../core/errors.js'
import { type Logger, logger as loggerCheck, SILENT } from '../../core/events.js'
import {
  type Check,
  checkOptions,
  hostName,
  invalidOption,
  port as portNumber,
  text,
} from '../../core/options/check.js'
import { parseErrorResponse, ServerError } from '../../wire/error-response.js'
import { createPacketReader, type PacketReader, ProtocolViolation } from '../../wire/framing.js'
import { AuthenticationRequest, BackendType, HEADER_BYTES } from '../../wire/messages.js'
import {
  createPasswordClient,
  type PasswordClient,
  ScramFailure,
  UnsupportedMethod,
} from '../../wire/password-client.js'
import { CANCEL_REQUEST, sslRequestPacket, startupPacket } from '../../wire/startup.js'
import type { Engine, EngineSession, SessionRequest } from './engine.js'

interface UpstreamEngineSettings {
  upstream: UpstreamOptions
  /** The time limit for connecting, and the one for logging in, in milliseconds. */
  connectTimeoutMs: number
  logger: Logger
}

/**
 * Creates an engine on an existing PostgreSQL server: each client gets its own session there, logged in as its role.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @param upstream an object or a `postgres://` URL, as the option `upstream` of `startGateway`
 * @param options `logger`: receives messages about failed connections; default: no logging
 * @throws PgIamError Rejects with `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` for an invalid address, and with `ERR_GATEWAY_ENGINE`
 * if no PostgreSQL server responds there.
 */
export async function upstreamEngine(
  upstream: UpstreamOptions | string,
  options: UpstreamEngineOptions = {},
): Promise<Engine> {
  const { logger = SILENT } = checkOptions(options, { logger: loggerCheck })
  return startUpstreamEngine({ upstream: upstreamAddress(upstream, 'upstream'), logger })
}

export interface UpstreamEngineOptions {
  logger?: Logger
}

/** The time limit for connecting to the upstream server, and the one for logging in. */
const CONNECT_TIMEOUT_MS = 10_000

/** Rejects with `ERR_GATEWAY_ENGINE` if no PostgreSQL server responds at the address. */
export async function startUpstreamEngine(
  settings: Omit<UpstreamEngineSettings, 'connectTimeoutMs'>,
): Promise<Engine> {
  const whole = { ...settings, connectTimeoutMs: CONNECT_TIMEOUT_MS }
  await probe(whole)
  return { name: 'upstream', ...upstreamSessions(whole) }
}

/** Opens and ends sessions on the upstream server. */
export function upstreamSessions(
  settings: UpstreamEngineSettings,
): Pick<Engine, 'openSession' | 'close'> {
  const { upstream, connectTimeoutMs, logger } = settings
  const sockets = new Set<Socket>()
  let closed = false
  let sessions = 0
  const dial = async (): Promise<Socket> => {
    const socket = await dialUpstream(upstream, connectTimeoutMs)
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
  const cancel = async (key: BackendKey): Promise<void> => {
    try {
      const socket = await dial()
      const ended = new Promise((resolve) => socket.once('close', resolve))
      const timer = setTimeout(() => socket.destroy(), connectTimeoutMs)
      socket.end(cancelRequest(key)).resume()
      await ended
      clearTimeout(timer)
    } catch (error) {
      logger.warn('gateway: a cancel request to the upstream server failed', { error })
    }
  }

  return {
    async openSession(request) {
      const socket = await dial().catch(lost)
      return openSession(socket, request, settings, cancel, ++sessions)
    },
    async close() {
      closed = true
      const ends = [...sockets].map((socket) => new Promise((end) => socket.once('close', end)))
      for (const socket of sockets) socket.destroy()
      await Promise.all(ends)
    },
  }
}

/** @param sessionNumber the process ID for a server that sends no BackendKeyData. Its sessions cannot be cancelled. */
async function openSession(
  socket: Socket,
  { role, database, parameters }: SessionRequest,
  { upstream, connectTimeoutMs }: UpstreamEngineSettings,
  cancel: (key: BackendKey) => Promise<void>,
  sessionNumber: number,
): Promise<EngineSession> {
  const timer = setTimeout(() => socket.destroy(), connectTimeoutMs)
  try {
    const { key, greeting } = await logInUpstream(socket, {
      parameters: new Map([
        ...parameters,
        ['user', role],
        ['database', upstream.database ?? database],
      ]),
      password: upstream.password,
      allowsCleartext: isOnThisMachine(upstream),
    })
    socket.unshift(greeting)
    return Object.assign(socket, {
      processId: key?.processId ?? sessionNumber,
      cancel: key === undefined ? () => {} : coalesced(() => cancel(key)),
    })
  } catch (error) {
    socket.destroy()
    return lost(error)
  } finally {
    clearTimeout(timer)
  }
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

function lost(cause: unknown): Promise<never> {
  if (cause instanceof ServerError) return Promise.reject(cause)
  const { code } = cause as { code?: string }
  const reason = code === undefined ? '' : `: ${code}`
  return Promise.reject(
    new ServerError('08006', `could not reach the PostgreSQL behind the gateway${reason}`, {
      cause,
    }),
  )
}

function cancelRequest({ processId, secretKey }: BackendKey): Buffer {
  const packet = Buffer.alloc(12 + secretKey.length)
  packet.writeInt32BE(packet.length, 0)
  packet.writeInt32BE(CANCEL_REQUEST, 4)
  packet.writeInt32BE(processId, 8)
  secretKey.copy(packet, 12)
  return packet
}

/** Sends an SSLRequest, which every PostgreSQL server answers with one byte, and disconnects. This causes no login and no log entry. */
async function probe({ upstream, connectTimeoutMs }: UpstreamEngineSettings): Promise<void> {
  let socket: Socket | undefined
  let timer: NodeJS.Timeout | undefined
  try {
    socket = await dialUpstream(upstream, connectTimeoutMs)
    const dialled = socket
    timer = setTimeout(() => dialled.destroy(), connectTimeoutMs)
    socket.write(sslRequestPacket())
    const answer = await createPacketReader(socket).read(1)
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
        hint: 'Check "upstream" and that the server is running.',
      },
    )
  } finally {
    clearTimeout(timer)
    socket?.destroy()
  }
}

// Connections to the upstream server.

/** Resolves with a connected socket, or rejects with Node's error and closes the socket. */
export function dialUpstream(
  { host, port = 5432 }: UpstreamOptions,
  timeoutMs: number,
): Promise<Socket> {
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
  const reader = createPacketReader(socket)
  socket.write(startupPacket(settings.parameters))
  await authenticate(socket, reader, settings)
  const greeting: Buffer[] = []
  let key: BackendKey | undefined
  for (;;) {
    const received = await readMessage(reader)
    if (received[0] === BackendType.backendKeyData) {
      key = { processId: received.readInt32BE(5), secretKey: received.subarray(9) }
      continue
    }
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
   * The password of the roles, if the server requires one: with SCRAM-SHA-256, or in clear text over a Unix socket or on this
   * machine. Without it, the server must trust the gateway.
   */
  password?: string
}

/** Validates the option, which is an object or a `postgres://` URL. */
export const upstreamAddress: Check<UpstreamOptions> = (value, name) => {
  const given = typeof value === 'string' ? fromUrl(value, name) : value
  const { host, ...rest } = checkOptions(
    given,
    { host: hostOrDirectory, port: portNumber, database: text, password: secret },
    `${name}.`,
  )
  if (host === undefined) throw invalidOption(`${name}.host`, HOST, undefined)
  return { host, ...rest }
}

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
  const sslmode = parameters.get('sslmode') ?? 'disable'
  if (!['disable', 'allow', 'prefer'].includes(sslmode)) {
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not require TLS`, {
      hint: 'The gateway connects to the server over a Unix socket or plain TCP, on this machine or a trusted network.',
    })
  }
  parameters.delete('sslmode')
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
