/** The engine that is a real PostgreSQL: each client gets a session of its own there. */
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
  /** How long connecting and logging in may take, in milliseconds each. */
  connectTimeoutMs: number
  logger: Logger
}

/**
 * Gives the sessions of a PostgreSQL that runs elsewhere: each client gets one of its own there, logged in as its role.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @param upstream as the option `upstream` of `startGateway`, an object or a `postgres://` URL
 * @param options `logger`: where connections that fail are written to; default nowhere
 * @throws PgIamError Rejects with `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` for an address that cannot work, and with
 * `ERR_GATEWAY_ENGINE` where no PostgreSQL answers there.
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

/** How long a connection to the real PostgreSQL, and a login there, may take. */
const CONNECT_TIMEOUT_MS = 10_000

/** Rejects with `ERR_GATEWAY_ENGINE` where no PostgreSQL answers at the address. */
export async function startUpstreamEngine(
  settings: Omit<UpstreamEngineSettings, 'connectTimeoutMs'>,
): Promise<Engine> {
  const whole = { ...settings, connectTimeoutMs: CONNECT_TIMEOUT_MS }
  await probe(whole)
  return { name: 'upstream', ...upstreamSessions(whole) }
}

/** Opens the sessions, and ends them. */
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
    socket.on('error', (error) => logger.debug('gateway: a connection upstream failed', { error }))
    socket.once('close', () => sockets.delete(socket))
    return socket
  }
  /** Resolves when the server has closed the connection that carries the request: it has then signalled the session. */
  const cancel = async (key: BackendKey): Promise<void> => {
    try {
      const socket = await dial()
      const ended = new Promise((resolve) => socket.once('close', resolve))
      const timer = setTimeout(() => socket.destroy(), connectTimeoutMs)
      socket.end(cancelRequest(key)).resume()
      await ended
      clearTimeout(timer)
    } catch (error) {
      logger.warn('gateway: could not cancel upstream', { error })
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

/** @param madeUpProcessId for a server that gives no key. It takes no cancel requests then, and the number only tells its sessions apart. */
async function openSession(
  socket: Socket,
  { role, database, parameters }: SessionRequest,
  { upstream, connectTimeoutMs }: UpstreamEngineSettings,
  cancel: (key: BackendKey) => Promise<void>,
  madeUpProcessId: number,
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
      processId: key?.processId ?? madeUpProcessId,
      cancel: key === undefined ? () => {} : oneAtATime(() => cancel(key)),
    })
  } catch (error) {
    socket.destroy()
    return lost(error)
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Each request costs the server a connection, however many the client sends. One that comes while another is under way may be for
 * a later statement, so it is followed by one more.
 */
function oneAtATime(cancel: () => Promise<void>): () => void {
  let isUnderWay = false
  let isWanted = false
  return () => {
    isWanted = true
    if (isUnderWay) return
    isUnderWay = true
    const next = async (): Promise<void> => {
      while (isWanted) {
        isWanted = false
        await cancel()
      }
      isUnderWay = false
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

/** Asks for TLS, which every PostgreSQL answers with one letter, and forgets about it: no login, and no line in its log. */
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
      throw new Error('it does not answer like PostgreSQL')
  } catch (cause) {
    const { host, port = 5432 } = upstream
    throw new PgIamError(
      'ERR_GATEWAY_ENGINE',
      `gateway: no PostgreSQL answers at ${host}, port ${port}`,
      {
        cause,
        retryable: true,
        hint: 'Check "upstream", and that the server runs.',
      },
    )
  } finally {
    clearTimeout(timer)
    socket?.destroy()
  }
}

// Opens connections to the PostgreSQL behind the gateway.

/** Resolves with a connected socket, or rejects with the network's error and leaves none. */
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
      fail(Object.assign(new Error('the connection took too long'), { code: 'ETIMEDOUT' }))
    }, timeoutMs)
    socket.once('connect', succeed).once('error', fail)
  })
}

/** Whether what is sent stays on this machine. */
function isOnThisMachine({ host }: UpstreamOptions): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || host.startsWith('127.')
}

// Logs in to the PostgreSQL behind the gateway as the role of a client.

/** The server's own key of a session, for cancel requests. */
interface BackendKey {
  readonly processId: number
  readonly secretKey: Buffer
}

interface UpstreamLogin {
  /** `undefined` where the server has sent none. */
  readonly key: BackendKey | undefined
  /** What the server said up to and with its first ReadyForQuery, without what belongs to the login. */
  readonly greeting: Buffer
}

interface UpstreamLoginSettings {
  parameters: ReadonlyMap<string, string>
  password: string | undefined
  /** Whether a password may be sent as it is. */
  allowsCleartext: boolean
}

/** Rejects with the server's own refusal as a `ServerError`, or with the error of a connection that broke. */
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

/** Reads one whole message; an error of the server is thrown. */
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
      throw notTrusted('the server asks for a login that the gateway does not do')
    if (request.readInt32BE(HEADER_BYTES) === AuthenticationRequest.ok) {
      if (client?.mayBeAccepted() === false)
        throw notTrusted('the server skipped its proof in the SCRAM exchange')
      return
    }
    if (client === undefined) throw notTrusted('the server asks for a password')
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
      throw notTrusted('the server asks for a login that the gateway does not do')
    throw error
  }
}

function notTrusted(detail: string): ServerError {
  return new ServerError('28000', 'the PostgreSQL behind the gateway refused its login', {
    detail,
    hint: 'Let it trust the gateway, over its Unix socket for example, or give "upstream.password".',
  })
}

// The `upstream` option: where the real PostgreSQL behind the gateway is.

/** A real PostgreSQL that the gateway logs in to as the client's role. */
export interface UpstreamOptions {
  /** A host name, an IP address, or the absolute path of the directory of its Unix socket. */
  host: string
  /** Default 5432. */
  port?: number
  /** Default: the gateway's `database`. */
  database?: string
  /**
   * The password of the roles, where the server asks for one: by SCRAM-SHA-256, or in clear text over a Unix socket or
   * within this machine. Without it, the server must trust the gateway.
   */
  password?: string
}

/** Checks the option, which may also be a `postgres://` URL. */
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
  // The value itself is never shown: it is a password, however wrong.
  if (typeof value !== 'string' || value === '' || value.includes('\0'))
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" must be a non-empty string`)
  return value
}

/** As libpq reads it, as far as the gateway can do what it asks for. */
function fromUrl(given: string, name: string): object {
  const url = parse(given)
  if (url === undefined || !['postgres:', 'postgresql:'].includes(url.protocol))
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" must be an object or a postgres:// URL`)
  if (url.username !== '') {
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not name a user`, {
      hint: 'The gateway logs in as the role of each client: leave the user out of the URL.',
    })
  }
  const parameters = new Map(url.searchParams)
  const sslmode = parameters.get('sslmode') ?? 'disable'
  if (!['disable', 'allow', 'prefer'].includes(sslmode)) {
    throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not ask for TLS`, {
      hint: 'The gateway talks to its PostgreSQL over a Unix socket or plain TCP, on this machine or a trusted network.',
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

/** Neither the URL nor the parser's error is shown: there may be a password in it. */
function parse(given: string): URL | undefined {
  try {
    const url = new URL(given)
    for (const part of [url.hostname, url.pathname, url.password]) decodeURIComponent(part)
    return url
  } catch {
    return undefined
  }
}
