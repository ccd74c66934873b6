/** Which endpoint a client of one listener means. */
import { fatal, refusal, type Refusal } from '../auth/refusal.js'
import type { Endpoint } from '../auth/endpoint.js'

export interface EndpointChoice {
  readonly all: readonly Endpoint[]
  /** Has a word for clients that cannot name an endpoint yet, such as those without TLS. */
  readonly first: Endpoint
  /** The endpoint that a client names in its TLS handshake, or else by the ID of a cluster; or why it gets none. */
  choose(servername: string | undefined, clusterId?: string): Endpoint | Refusal
}

/** Where there is one endpoint alone, all clients mean that, whatever name they know it by. */
export function createEndpointChoice(first: Endpoint, others: readonly Endpoint[]): EndpointChoice {
  const all = [first, ...others]
  const byHost = new Map(all.flatMap((endpoint) => endpoint.hosts.map((host) => [host, endpoint])))
  return {
    all,
    first,
    choose(servername, clusterId) {
      if (others.length === 0) return first
      const named = byHost.get(servername?.toLowerCase() ?? '')
      const isOfCluster = ({ provider, hosts }: Endpoint): boolean =>
        provider === 'aurora-dsql' && hosts.some((host) => host.startsWith(`${clusterId}.`))
      return named ?? all.find(isOfCluster) ?? unnamed(servername)
    },
  }
}

function unnamed(servername: string | undefined): Refusal {
  const named = servername === undefined ? 'no server name' : 'a server name of no endpoint'
  return refusal(
    'endpoint-unnamed',
    `the client's TLS handshake has ${named}, and there are several endpoints`,
    fatal(
      '08004',
      `the TLS handshake has ${named}`,
      'Dial an endpoint by its name, or give it a listener of its own ("listen").',
    ),
  )
}
