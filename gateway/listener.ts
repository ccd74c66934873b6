/** The listeners of a gateway: a shared one, and separate ones of endpoints with the option `listen`. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { fatal } from './auth/refusal.js'
import type { Endpoint } from './auth/endpoint.js'
import { createEndpointChoice } from './auth/endpoints.js'
import type { ServerConnection } from './connection/handle-connection.js'
import type { TlsCredentials, TlsLookup } from './connection/tls.js'
import { type ClientServices, serveClient } from './serve-client.js'
import { createWebSockets, type WebSocketOptions } from './web-sockets.js'

interface Listeners {
  /** The port of the shared listener, or of the first endpoint if there is no shared listener. */
  readonly port: number
  portOf(endpoint: Endpoint): number
  /**
   * Sends an error to the clients, ends all connections, and resolves when all ports are released. Sessions may first complete their
   * transactions, for `drainMs`.
   */
  close(drainMs: number): Promise<void>
}

interface ListenersSettings {
  host: string
  /** The port of the shared listener. */
  port: number
  endpoints: readonly Endpoint[]
  tls: TlsLookup
  /** `undefined`: only TCP. */
  webSocket: WebSocketOptions | undefined
}

/** Rejects with Node's error if listening on a port fails. The other listeners are then closed. */
export async function startListeners(
  { host, port, endpoints, tls, webSocket }: ListenersSettings,
  services: Omit<ClientServices, 'tls' | 'endpoints' | 'onHttp'>,
): Promise<Listeners> {
  const ports = new Map<Endpoint, number>()
  const listeners: Listener[] = []
  const start = async (wanted: number, [first, ...others]: readonly Endpoint[]): Promise<void> => {
    if (first === undefined) return
    const choice = createEndpointChoice(first, others)
    const withAuthority: TlsLookup = async (serverName) => {
      const found = await tls(serverName)
      const endpoint = serverName === undefined ? first : choice.choose(serverName)
      const ca = 'reason' in endpoint ? undefined : endpoint.clientAuthority
      // The caller's own object, as its secure context is found by it.
      return ca === undefined ? found : found && ({ ...found, ca } satisfies TlsCredentials)
    }
    const own = { ...services, tls: withAuthority, endpoints: choice }
    const listener = await listen(host, wanted, own, webSocket)
    listeners.push(listener)
    for (const endpoint of choice.all) ports.set(endpoint, listener.port)
  }
  const close = async (drainMs: number): Promise<void> => {
    await Promise.all(listeners.map((listener) => listener.close(drainMs)))
  }
  try {
    await start(
      port,
      endpoints.filter((endpoint) => endpoint.listen === undefined),
    )
    for (const endpoint of endpoints)
      if (endpoint.listen !== undefined) await start(endpoint.listen, [endpoint])
  } catch (error) {
    await close(0)
    throw error
  }
  return {
    // The shared listener, if there is one, was started first.
    port: listeners[0]!.port,
    portOf: (endpoint) => ports.get(endpoint)!,
    close,
  }
}

// One listener.

interface Listener {
  readonly port: number
  /** Sends an error to the clients, ends all connections, and resolves when the port is released. */
  close(drainMs: number): Promise<void>
}

/** Rejects with Node's error if listening fails. */
async function listen(
  host: string,
  port: number,
  services: Omit<ClientServices, 'onHttp'>,
  webSocket: WebSocketOptions | undefined,
): Promise<Listener> {
  const { stats, logger } = services
  /** The connections by their TCP socket. */
  const connections = new Map<Duplex, ServerConnection | undefined>()
  const sockets = new WeakMap<TLSSocket, Socket>()
  const { limits, loginTimeoutMs: requestTimeoutMs } = services
  const accept = (stream: Duplex, secured: TLSSocket): void =>
    void connections.set(sockets.get(secured)!, serveClient(stream, services, secured))
  const serveHttp =
    webSocket && (await createWebSockets(webSocket, { accept, requestTimeoutMs, limits, logger }))
  // The protocol exchanges small messages in turn. Nagle's algorithm would delay each by 40 ms.
  const server = createServer({ noDelay: true }, (socket) => {
    stats.connectionOpened()
    socket.once('close', () => {
      connections.delete(socket)
      stats.connectionClosed()
    })
    const onHttp =
      serveHttp &&
      ((secured: TLSSocket) => {
        sockets.set(secured, socket)
        connections.set(socket, undefined)
        serveHttp(secured)
      })
    connections.set(socket, serveClient(socket, { ...services, onHttp }))
  })
  await listening(server, host, port)
  server.on('error', (error) => logger.error('gateway: the listener failed', { error }))
  return {
    port: (server.address() as AddressInfo).port,
    close: (drainMs) => closeServer(server, connections, drainMs),
  }
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function closeServer(
  server: Server,
  connections: ReadonlyMap<Duplex, ServerConnection | undefined>,
  drainMs: number,
): Promise<void> {
  const stopped = new Promise<void>((resolve) => void server.close(() => resolve()))
  const ended = Promise.all(
    [...connections.keys()].map(
      (socket) => new Promise<void>((resolve) => void socket.once('close', () => resolve())),
    ),
  )
  if (drainMs > 0) {
    forSessions(connections, (connection) => connection.drain(SHUTDOWN))
    let timer: NodeJS.Timeout | undefined
    const expired = new Promise<void>((resolve) => (timer = setTimeout(resolve, drainMs)))
    await Promise.race([ended, expired])
    clearTimeout(timer)
  }
  forSessions(connections, (connection) => connection.end(SHUTDOWN))
  const graceTimer = setTimeout(() => {
    for (const socket of connections.keys()) socket.destroy()
  }, GRACE_MS)
  await Promise.all([stopped, ended])
  clearTimeout(graceTimer)
}

/** Ends the clients that have not logged in, and does something with the others. */
function forSessions(
  connections: ReadonlyMap<Duplex, ServerConnection | undefined>,
  act: (connection: ServerConnection) => void,
): void {
  for (const [socket, connection] of connections) {
    if (connection?.state.phase === 'session') act(connection)
    else if (connection === undefined) socket.destroy()
    else connection.end()
  }
}

const SHUTDOWN = fatal('57P01', 'terminating connection due to administrator command')
/** How long clients have to read the last error when the gateway closes. */
const GRACE_MS = 1_000
