/** WebSockets on the gateway's own ports: a client of TLS that speaks HTTP, such as a browser. */
import type { RequestListener } from 'node:http'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { WebSocket, WebSocketServer } from 'ws'
import { type WebSocketLike, WebSocketStream } from '../core/connection/web-socket-stream.js'
import type { Logger } from '../core/events.js'
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
  /** How long a connection may be without a message, in milliseconds, from 1,000 to 86,400,000. Default 3,600,000. */
  idleTimeoutMs?: number
  /** Answers all other HTTP requests of these clients, for example with the files of a page. Default: 426, Upgrade Required. */
  onRequest?: RequestListener
}

const origins: Check<readonly string[]> = (value, name) => {
  const isOrigin = (each: unknown): boolean => {
    try {
      return new URL(String(each)).origin === each
    } catch {
      return false
    }
  }
  if (Array.isArray(value) && value.every(isOrigin)) return value as readonly string[]
  throw invalidOption(name, 'an array of origins such as "https://localhost:5173"', value)
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

export interface WebSockets {
  /** Serves HTTP on a connection of TLS. */
  serve(secured: TLSSocket): void
  /** Ends the connections that are not WebSockets. */
  close(): void
}

/** The protocol of `TLSSocket.alpnProtocol` for these clients. */
export const HTTP = 'http/1.1'

/**
 * @param accept serves a WebSocket
 *
 * Rejects with `ERR_PEER_MISSING` if `ws` is not installed.
 */
export async function createWebSockets(
  options: WebSocketOptions,
  accept: (stream: Duplex, secured: TLSSocket) => void,
  logger: Logger,
): Promise<WebSockets> {
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
  const server = createServer(onRequest)
  // ws (8) gives the error to the client, and closes the connection.
  upgrades.on('wsClientError', (error) =>
    logger.debug('gateway: a WebSocket was refused', { error }),
  )
  server.on('upgrade', (request, socket, head) => {
    const { origin, host } = request.headers
    if (origin !== undefined && origin !== `https://${host}` && !allowed.includes(origin)) {
      logger.warn('gateway: refused a WebSocket of another origin', { origin })
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      watch(webSocket, idleTimeoutMs)
      const peer = `the client at ${request.socket.remoteAddress}`
      accept(
        new WebSocketStream(webSocket as unknown as WebSocketLike, { peer, below: request.socket }),
        socket as TLSSocket,
      )
    })
  })
  return {
    serve(secured) {
      secured.on('error', (error) => logger.debug('gateway: a connection failed', { error }))
      server.emit('connection', secured)
    },
    close: () => server.closeAllConnections(),
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

/** Ends a WebSocket whose client has gone away without a word, and one that is idle. Browsers answer pings themselves. */
function watch(webSocket: WebSocket, idleTimeoutMs: number): void {
  let isAlive = true
  const pings = setInterval(() => {
    if (!isAlive) webSocket.terminate()
    isAlive = false
    webSocket.ping()
  }, PING_MS).unref()
  const idle = setTimeout(
    () => webSocket.close(GOING_AWAY, 'idle for too long'),
    idleTimeoutMs,
  ).unref()
  webSocket.on('pong', () => (isAlive = true))
  webSocket.on('message', () => {
    isAlive = true
    idle.refresh()
  })
  webSocket.once('close', () => {
    clearInterval(pings)
    clearTimeout(idle)
  })
}

const PING_MS = 30_000
const GOING_AWAY = 1001

const upgradeRequired: RequestListener = (_request, response) => {
  response.writeHead(426, { 'content-type': 'text/plain', upgrade: 'websocket' })
  response.end('This port serves PostgreSQL, and PostgreSQL over WebSocket.\n')
}
