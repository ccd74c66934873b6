/** What the examples of servers share: they listen on a free loopback port until they are closed. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'

export interface ExampleServer {
  readonly port: number
  /** PEM text that clients trust, if the server has TLS. */
  readonly ca?: string
  close(): Promise<void>
}

/** @param accept serves one connection */
export async function listen(
  accept: (socket: Socket) => void,
  port = 0,
): Promise<Omit<ExampleServer, 'ca'>> {
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    accept(socket)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
