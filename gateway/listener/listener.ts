/** Accepts connections, and ends them all when the gateway closes. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { serveConnection, type Connection, type ConnectionServices } from './connection.js'

export interface Listener {
  readonly port: number
  /** Tells the clients, ends every connection, and resolves once the port is free. */
  close(): Promise<void>
}

/** Rejects with the network's own error where the address cannot be listened on. */
export async function listen(
  host: string,
  port: number,
  services: ConnectionServices,
): Promise<Listener> {
  const { stats, logger } = services
  const connections = new Map<Socket, Connection>()
  // The protocol is made of small messages that wait for each other: Nagle's algorithm would add 40 ms to each.
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
  const impatient = setTimeout(() => {
    for (const socket of connections.keys()) socket.destroy()
  }, GRACE_MS)
  await Promise.all([stopped, ...ended])
  clearTimeout(impatient)
}

/** How long clients have to take the message that the gateway closes. */
const GRACE_MS = 1_000
