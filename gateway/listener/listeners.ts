/** All the ports that a gateway listens on: one for the endpoints that share it, and those that endpoints have alone. */
import type { Endpoint } from '../auth/endpoint.js'
import type { GatewayCertificates } from '../certificates/gateway-certificates.js'
import type { ConnectionServices } from './connection.js'
import { createEndpointChoice } from './endpoint-choice.js'
import { listen, type Listener } from './listener.js'
import { createTlsUpgrader } from './tls-upgrade.js'

export interface Listeners {
  /** Of the listener that endpoints share; where none does, of the first endpoint's. */
  readonly port: number
  portOf(endpoint: Endpoint): number
  /** Tells the clients, ends every connection, and resolves once all ports are free. */
  close(): Promise<void>
}

export interface ListenersSettings {
  host: string
  /** Of the shared listener. */
  port: number
  endpoints: readonly Endpoint[]
  certificates: GatewayCertificates
}

/** Rejects with the network's own error where an address cannot be listened on; nothing listens then. */
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
    // The shared listener, where there is one, was the first to start.
    port: listeners[0]!.port,
    portOf: (endpoint) => ports.get(endpoint)!,
    close,
  }
}
