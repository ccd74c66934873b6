/** WebSockets on the gateway's own ports: a client of TLS that speaks HTTP, such as a browser. */
import type { RequestListener } from 'node:http'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { WebSocket, WebSocketServer } from 'ws'
import { type WebSocketLike, WebSocketStream } from '../core/connection/web-socket-stream.js'
import type { Logger } from '../core/events.js'
import type { Limits } from './connection/limits.js'
import { peerError } from '../core/load-peer.js'
import {
  type Check,
  checkOptions,
  functionOf,
  integerWithin,
  invalidOption,
} from '../core/options/check.js'

export interface WebSocketOptions {
  /**
   * The origins whose pages may connect, besides the gateway's own, such as `https://localhost:5173`. Default: none. Clients that are not
   * browsers send no origin, and are accepted.
   */
  origins?: readonly string[]
  /** The maximum size of a message, in bytes, from 1,024 to 1 GiB. A larger one ends the connection with the close code 1009. Default 16 MiB. */
  maxMessageBytes?: number
  /**
   * How long a connection may be without a message in either direction, in milliseconds, from 1,000 to 86,400,000. A statement that runs
   * longer without a result is cut. Default 3,600,000.
   */
  idleTimeoutMs?: number
  /** Answers all other HTTP requests of these clients, for example with the files of a page. Default: 426, Upgrade Required. */
  onRequest?: RequestListener
}

const origins: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value)) throw invalidOption(name, 'an array of origins', value)
  return value.map((each: unknown, index) => {
    const isOrigin = typeof each === 'string' && URL.canParse(each) && new URL(each).origin === each
    if (isOrigin) return each
    const what = 'an origin without a path, such as "https://localhost:5173"'
    throw invalidOption(`${name}[${index}]`, what, each)
  })
}

const CHECKS = {
  origins,
  maxMessageBytes: integerWithin(1_024, 2 ** 30, 'bytes'),
  idleTimeoutMs: integerWithin(1_000, 86_400_000, 'milliseconds'),
  onRequest: functionOf<RequestListener>(),
} as const

/** Validates the option `webSocket`. `undefined`: there are none. */
export const webSocketOption: Check<WebSocketOptions | undefined> = (value, name) => {
  if (value === true) return {}
  if (value === false) return undefined
  return checkOptions(value, CHECKS, `${name}.`)
}

/** The protocol of these clients, as TLS negotiates it. */
export const HTTP = 'http/1.1'

export interface WebSocketServices {
  /** Serves a WebSocket. */
  readonly accept: (stream: Duplex, secured: TLSSocket) => void
  /** How long a client may take for its request, in milliseconds. */
  readonly requestTimeoutMs: number
  /** Until its request, a client counts among those that have not logged in. */
  readonly limits: Limits
  readonly logger: Logger
}

/**
 * Returns the function that serves HTTP on a connection of TLS.
 *
 * Rejects with `ERR_PEER_MISSING` if `ws` is not installed.
 */
export async function createWebSockets(
  options: WebSocketOptions,
  { accept, requestTimeoutMs, limits, logger }: WebSocketServices,
): Promise<(secured: TLSSocket) => void> {
  const {
    origins: allowed = [],
    maxMessageBytes = DEFAULT_MESSAGE_BYTES,
    idleTimeoutMs = 3_600_000,
    onRequest = upgradeRequired,
  } = options
  // Loaded on use: most gateways have no WebSockets.
  const [{ WebSocketServer: ServerOfWs }, { createServer }] = await Promise.all([
    loadWs(),
    import('node:http'),
  ])
  const upgrades: WebSocketServer = new ServerOfWs({
    noServer: true,
    maxPayload: maxMessageBytes,
    perMessageDeflate: false,
    clientTracking: false,
  })
  const server = createServer()
  /** What ends the wait for the next request of a connection. */
  const waits = new WeakMap<Duplex, () => void>()
  const endWait = (socket: Duplex): void => waits.get(socket)?.()
  // Node's own time limits only apply to a server that listens.
  const awaitRequest = (socket: Duplex): void => {
    endWait(socket)
    if (socket.destroyed) return
    const drop = (): void => void socket.destroy()
    const timer = setTimeout(drop, requestTimeoutMs)
    const leave = limits.logins.begin(drop)
    const end = (): void => {
      clearTimeout(timer)
      leave()
      waits.delete(socket)
      socket.off('close', end)
    }
    socket.once('close', end)
    waits.set(socket, end)
  }
  server.on('request', (request, response) => {
    const { socket } = request
    request.once('end', () => endWait(socket))
    response.once('close', () => awaitRequest(socket))
    // Whatever it throws must not end the sessions of others.
    const failed = (error: unknown): void => {
      logger.error('gateway: "onRequest" failed', { error })
      if (response.headersSent) response.destroy()
      else response.writeHead(500).end()
    }
    try {
      Promise.resolve(onRequest(request, response) as unknown).catch(failed)
    } catch (error) {
      failed(error)
    }
  })
  server.on('upgrade', (request, socket, head) => {
    const { origin, host } = request.headers
    if (origin !== undefined && origin !== `https://${host}` && !allowed.includes(origin)) {
      logger.warn('gateway: refused a WebSocket of another origin', { origin })
      // Nobody reads it any more, so it would not notice that the client has gone.
      socket.once('finish', () => socket.destroy())
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      endWait(socket)
      request.socket.setKeepAlive(true, KEEP_ALIVE_MS)
      const idle = idleTimer(webSocket, idleTimeoutMs)
      const peer = `the client at ${request.socket.remoteAddress}`
      const stream = new WebSocketStream(webSocket as unknown as WebSocketLike, {
        peer,
        below: request.socket,
        onMessage: () => idle.refresh(),
      })
      accept(stream, socket as TLSSocket)
    })
  })
  return (secured) => {
    secured.on('error', (error) => logger.debug('gateway: a connection failed', { error }))
    awaitRequest(secured)
    server.emit('connection', secured)
  }
}

const DEFAULT_MESSAGE_BYTES = 16 * 1024 * 1024

async function loadWs(): Promise<typeof import('ws')> {
  try {
    return await import('ws')
  } catch (error) {
    throw peerError(error, 'ws')
  }
}

/** Pings keep proxies between them from ending the connection. Whether the client is there, TCP finds out: a client that does not read answers none. */
function idleTimer(webSocket: WebSocket, idleTimeoutMs: number): NodeJS.Timeout {
  const pings = setInterval(() => webSocket.ping(), KEEP_ALIVE_MS).unref()
  const idle = setTimeout(
    () => webSocket.close(GOING_AWAY, 'idle for too long'),
    idleTimeoutMs,
  ).unref()
  webSocket.once('close', () => {
    clearInterval(pings)
    clearTimeout(idle)
  })
  return idle
}

const KEEP_ALIVE_MS = 30_000
const GOING_AWAY = 1001

const upgradeRequired: RequestListener = (_request, response) => {
  response.writeHead(426, { 'content-type': 'text/plain', upgrade: 'websocket' })
  response.end('This port serves PostgreSQL, and PostgreSQL over WebSocket.\n')
}
