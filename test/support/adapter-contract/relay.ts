/** A TCP relay in front of the gateway that can cut all connections like a network failure. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface Relay {
  readonly port: number
  /** The number of accepted connections. */
  accepted(): number
  /** The number of open connections. */
  open(): number
  /** Destroys all connections at both sides. */
  cut(): void
  close(): Promise<void>
}

export async function startRelay(target: { host: string; port: number }): Promise<Relay> {
  const sockets = new Set<Socket>()
  let accepted = 0
  const server = createServer({ noDelay: true }, (client) => {
    accepted++
    sockets.add(client)
    const upstream = connect({ ...target, noDelay: true })
    client.pipe(upstream).pipe(client)
    client
      .on('error', () => {})
      .on('close', () => {
        sockets.delete(client)
        upstream.destroy()
      })
    upstream.on('error', () => {}).on('close', () => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    open: () => sockets.size,
    cut,
    async close() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
