/** A TCP relay that can hold all data, in both directions, like a network with a temporary delay. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface HeldRelay {
  readonly port: number
  /** Connections accepted since the start. */
  accepted(): number
  /** Holds all data from now on, including the ends of connections. */
  hold(): void
  /** Whether any data is held. */
  isHolding(): boolean
  /** Releases the held data, in order. */
  release(): void
  /** Resets every client connection, like a firewall that drops its state. */
  reset(): void
  close(): Promise<void>
}

export async function startHeldRelay(target: { host: string; port: number }): Promise<HeldRelay> {
  const sockets = new Set<Socket>()
  const clients = new Set<Socket>()
  let waiting: (() => void)[] | undefined
  let accepted = 0
  const pass = (action: () => void): void => {
    if (waiting === undefined) action()
    else waiting.push(action)
  }
  const forward = (from: Socket, to: Socket): void => {
    from.on('data', (chunk: Buffer) => pass(() => void to.write(chunk)))
    from.on('end', () => pass(() => to.end()))
    from.on('error', () => {})
    from.on('close', () => {
      sockets.delete(from)
      pass(() => to.destroy())
    })
    sockets.add(from)
  }
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    accepted++
    clients.add(client)
    client.on('close', () => clients.delete(client))
    const upstream = connect({ ...target, noDelay: true, allowHalfOpen: true })
    forward(client, upstream)
    forward(upstream, client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const release = (): void => {
    const actions = waiting ?? []
    waiting = undefined
    for (const action of actions) action()
  }
  return {
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    hold: () => {
      waiting ??= []
    },
    isHolding: () => waiting !== undefined && waiting.length > 0,
    release,
    reset() {
      for (const client of clients) client.resetAndDestroy()
    },
    async close() {
      release()
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
