/** A server of the test's own, on `handleConnection`. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import {
  handleConnection,
  type HandleConnectionOptions,
  type ServerConnection,
} from '../../../gateway/index.js'
import { createCertificates } from '../../../gateway/certificates.js'

export interface Served {
  readonly port: number
  readonly connections: readonly ServerConnection[]
  close(): Promise<void>
}

/** @param options of each connection, or a function of its socket that returns them */
export async function serve(
  options: HandleConnectionOptions | ((socket: Socket) => HandleConnectionOptions),
): Promise<Served> {
  const connections: ServerConnection[] = []
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    const own = typeof options === 'function' ? options(socket) : options
    connections.push(handleConnection(socket, own))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    connections,
    async close() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await Promise.all(connections.map(({ closed }) => closed))
    },
  }
}

/** Certificates for the names, and what a client trusts. */
export async function certificatesFor(
  ...names: readonly string[]
): Promise<{ key: string; cert: string; ca: string }> {
  const { privateKey, certificate, ca } = await createCertificates(names)
  return { key: privateKey, cert: certificate, ca }
}
