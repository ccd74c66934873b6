/** A TCP relay that behaves like a network: it can hold all data, cut or reset all connections, and counts round trips. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface Relay {
  readonly port: number
  /** Connections accepted since the start. */
  accepted(): number
  /** The number of open connections. */
  open(): number
  /** How often, in all connections, the server has replied to data of the client. */
  roundTrips(): number
  /** Holds all data from now on, including the ends of connections. */
  hold(): void
  /** Whether any data is held. */
  isHolding(): boolean
  /** Releases the held data, in order. */
  release(): void
  /** Destroys all connections at both sides. */
  cut(): void
  /** Resets every client connection, like a firewall that drops its state. */
  reset(): void
  close(): Promise<void>
}

/** @param delayMs how long data takes in each direction, in milliseconds */
export async function startRelay(
  target: { host: string; port: number },
  { delayMs = 0 }: { delayMs?: number } = {},
): Promise<Relay> {
  const sockets = new Set<Socket>()
  const clients = new Set<Socket>()
  let waiting: (() => void)[] | undefined
  let accepted = 0
  let roundTrips = 0
  const pass = (action: () => void): void => {
    if (waiting !== undefined) waiting.push(action)
    else if (delayMs > 0) setTimeout(action, delayMs)
    else action()
  }
  const forward = (from: Socket, to: Socket, seen: () => void): void => {
    from.on('data', (chunk: Buffer) => {
      seen()
      pass(() => void to.write(chunk))
    })
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
    let isAnswered = true
    forward(client, upstream, () => (isAnswered = false))
    forward(upstream, client, () => {
      if (!isAnswered) roundTrips++
      isAnswered = true
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const release = (): void => {
    const actions = waiting ?? []
    waiting = undefined
    for (const action of actions) action()
  }
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    open: () => clients.size,
    roundTrips: () => roundTrips,
    hold: () => {
      waiting ??= []
    },
    isHolding: () => waiting !== undefined && waiting.length > 0,
    release,
    cut,
    reset() {
      for (const client of clients) client.resetAndDestroy()
    },
    async close() {
      release()
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
