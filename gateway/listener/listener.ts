/** The listeners of a gateway: a shared one, and separate ones of endpoints with the option `listen`. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Endpoint } from '../auth/endpoint.js'
import type { GatewayCertificates } from '../certificates.js'
import { type Connection, type ConnectionServices, serveConnection } from './connection.js'
import { createEndpointChoice, createTlsUpgrader } from './startup.js'

interface Listeners {
  /** The port of the shared listener, or of the first endpoint if there is no shared listener. */
  readonly port: number
  portOf(endpoint: Endpoint): number
  /** Sends an error to the clients, ends all connections, and resolves when all ports are released. */
  close(): Promise<void>
}

interface ListenersSettings {
  host: string
  /** The port of the shared listener. */
  port: number
  endpoints: readonly Endpoint[]
  certificates: GatewayCertificates
}

/** Rejects with Node's error if listening on a port fails. The other listeners are then closed. */
export async function startListeners(
  { host, port, endpoints, certificates }: ListenersSettings,
  services: Omit<ConnectionServices, 'tls' | 'endpoints'>,
): Promise<Listeners> {
  const ports = new Map<Endpoint, number>()
  const listeners: Listener[] = []
  const start = async (wanted: number, [first, ...others]: readonly Endpoint[]): Promise<void> => {
    if (first === undefined) return
    const choice = createEndpointChoice(first, others)
    const tls = createTlsUpgrader(certificates, choice)
    const listener = await listen(host, wanted, { ...services, tls, endpoints: choice })
    listeners.push(listener)
    for (const endpoint of choice.all) ports.set(endpoint, listener.port)
  }
  const close = async (): Promise<void> => {
    await Promise.all(listeners.map((listener) => listener.close()))
  }
  try {
    await start(
      port,
      endpoints.filter((endpoint) => endpoint.listen === undefined),
    )
    for (const endpoint of endpoints)
      if (endpoint.listen !== undefined) await start(endpoint.listen, [endpoint])
  } catch (error) {
    await close()
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
  close(): Promise<void>
}

/** Rejects with Node's error if listening fails. */
async function listen(host: string, port: number, services: ConnectionServices): Promise<Listener> {
  const { stats, logger } = services
  const connections = new Map<Socket, Connection>()
  // The protocol exchanges small messages in turn. Nagle's algorithm would delay each by 40 ms.
  const server = createServer({ noDelay: true }, (socket) => {
    stats.connectionOpened()
    connections.set(socket, serveConnection(socket, services))
    socket.once('close', () => {
      connections.delete(socket)
      stats.connectionClosed()
    })
  })
  await listening(server, host, port)
  server.on('error', (error) => logger.error('gateway: the listener failed', { error }))
  return {
    port: (server.address() as AddressInfo).port,
    close: () => closeServer(server, connections),
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
  connections: ReadonlyMap<Socket, Connection>,
): Promise<void> {
  const stopped = new Promise<void>((resolve) => void server.close(() => resolve()))
  const ended = [...connections.keys()].map(
    (socket) => new Promise<void>((resolve) => void socket.once('close', () => resolve())),
  )
  for (const connection of connections.values()) connection.shutDown()
  const graceTimer = setTimeout(() => {
    for (const socket of connections.keys()) socket.destroy()
  }, GRACE_MS)
  await Promise.all([stopped, ...ended])
  clearTimeout(graceTimer)
}

/** How long clients have to read the last error when the gateway closes. */
const GRACE_MS = 1_000
