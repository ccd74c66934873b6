/** The engine that is a real PostgreSQL: each client gets a session of its own there. */
import type { Socket } from 'node:net'
import { PgIamError } from '../../../core/errors.js'
import { SILENT, logger as loggerCheck, type Logger } from '../../../core/logger.js'
import { checkOptions } from '../../../core/options/check.js'
import { CANCEL_REQUEST, sslRequestPacket } from '../../../core/wire/startup-packet.js'
import { createPacketReader } from '../../wire/packet-reader.js'
import { ServerError } from '../../wire/server-error.js'
import type { Engine, EngineSession, SessionRequest } from '../engine.js'
import { dialUpstream, isOnThisMachine } from './dial-upstream.js'
import { upstreamAddress, type UpstreamOptions } from './upstream-address.js'
import { logInUpstream, type BackendKey } from './upstream-login.js'

export interface UpstreamEngineSettings {
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
