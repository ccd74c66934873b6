/** How the gateway serves one client: `handleConnection` with the endpoints, their rules, the faults and the counters. */
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Logger } from '../core/events.js'
import { ServerError } from '../wire/error-response.js'
import { takeClusterId } from './auth/aurora-dsql.js'
import type { Endpoint } from './auth/endpoint.js'
import type { EndpointChoice } from './auth/endpoints.js'
import { refusal, refused } from './auth/refusal.js'
import { type AcceptedLogin, denied, type LoginClient, missingTarget } from './auth/verifier.js'
import type { ConnectionAuth, ConnectionState } from './connection/connection-options.js'
import { handleConnection, type ServerConnection } from './connection/handle-connection.js'
import type { Limits } from './connection/limits.js'
import type { TlsLookup } from './connection/tls.js'
import type { Engine } from './engines/engine.js'
import { type UpstreamClient, type UpstreamSessions, upstreamTarget } from './engines/upstream.js'
import type { FaultHooks, LoginPlace } from './faults/faults.js'
import { createSessionFaults } from './faults/session-faults.js'
import type { StatsRecorder } from './stats.js'
import { HTTP } from './web-sockets.js'

export interface ClientServices {
  readonly endpoints: EndpointChoice
  /** The server's certificate, with the authority of the endpoint's client certificates. */
  readonly tls: TlsLookup
  /** The roles and the database that exist. */
  readonly existing: { readonly roles: readonly string[]; readonly database: string }
  /** `undefined` if every endpoint has its own upstream server. */
  readonly engine: Engine | undefined
  readonly upstreams: UpstreamSessions
  readonly limits: Limits
  readonly faults: FaultHooks
  readonly stats: StatsRecorder
  readonly loginTimeoutMs: number
  readonly logger: Logger
  /** Takes over a connection on which HTTP is spoken. */
  readonly onHttp?: ((secured: TLSSocket) => void) | undefined
}

/** What the gateway knows about a client, once it has chosen its endpoint. */
interface Client {
  readonly endpoint: Endpoint
  readonly clusterId: string | undefined
  login?: AcceptedLogin
}

/**
 * Serves a connection that was just accepted. Returns `undefined` if a fault has cut it.
 *
 * @param securedBy the TLS socket below a WebSocket
 */
export function serveClient(
  stream: Duplex,
  services: ClientServices,
  securedBy?: TLSSocket,
): ServerConnection | undefined {
  const { endpoints, existing, limits, faults, stats, loginTimeoutMs, logger, onHttp } = services
  let client: Client | undefined
  let place: LoginPlace | undefined
  let unregister: (() => void) | undefined
  if (securedBy === undefined && faults.cutOnAccept()) {
    stream.on('error', () => {}).destroy()
    return undefined
  }
  const requestCertificate = endpoints.all.some((each) => each.clientAuthority !== undefined)
  const connection = handleConnection(stream, {
    ...(securedBy === undefined ? { tls: services.tls, requestCertificate } : { securedBy }),
    ...(onHttp !== undefined && {
      alpnProtocols: [HTTP],
      async onTlsUpgrade({ tls }: ConnectionState) {
        // Not all clients of HTTP offer a protocol. Those of PostgreSQL must.
        if (tls!.negotiation === 'direct' && tls!.alpn !== 'postgresql')
          onHttp((await connection.detach()) as TLSSocket)
      },
    }),
    limits,
    loginTimeoutMs,
    logger,
    auth(state) {
      client = clientOf(state, endpoints)
      const { endpoint, clusterId } = client
      const own: ConnectionAuth = {
        provider: endpoint.provider,
        errors: endpoint.errors,
        ...(endpoint.limits && { limits: endpoint.limits }),
        ...(endpoint.rules && { rules: endpoint.rules }),
        async authenticate(request, from) {
          const admitted = faults.admitLogin()
          if (admitted instanceof ServerError)
            return denied('fault', 'a fault refused the login', admitted)
          place = admitted
          const faulty = withFaults(from, faults)
          const verdict = await endpoint.method.authenticate({ ...request, clusterId }, faulty)
          await faulty.passFaults()
          if ('refused' in verdict) return verdict
          client!.login = verdict.accepted
          // The roles and databases of another server are not known here.
          if (endpoint.upstream) return verdict
          const isNew = endpoint.dsql?.isRole(request.role) === true
          const roles = isNew ? [...existing.roles, request.role] : existing.roles
          return missingTarget(request, { ...existing, roles }) ?? verdict
        },
      }
      return own
    },
    async engine({ tls: secured, startup }) {
      const { endpoint } = client!
      const open = await sessionOpener(endpoint, services, {
        ...startup!,
        serverName: secured?.serverName,
      })
      return { name: 'gateway', openSession: open, close: async () => {} }
    },
    rewrite: () => createSessionFaults(faults),
    onSession({ startup, session }) {
      stats.loginAccepted(client!.login!)
      unregister = faults.registry.add(
        {
          processId: session!.processId,
          role: startup!.user,
          database: startup!.database,
          applicationName: startup!.parameters.get('application_name'),
        },
        (error) => connection.end(error),
      )
      place?.leave()
    },
    onRefused: ({ reason }) => stats.loginRefused(reason),
    onCancelRequest: ({ isDelivered }) => stats.cancelRequested(isDelivered),
  })
  void connection.closed.then(() => {
    place?.leave()
    if (unregister === undefined) return
    unregister()
    stats.sessionEnded()
  })
  return connection
}

/** Chooses the endpoint. Throws the refusal of a client that names none. */
function clientOf({ tls, startup }: ConnectionState, endpoints: EndpointChoice): Client {
  // A client without TLS is refused with the errors of the first endpoint.
  if (tls === undefined) return { endpoint: endpoints.first, clusterId: undefined }
  const { clusterId } = takeClusterId(startup!.parameters)
  const endpoint = endpoints.choose(tls.serverName, clusterId)
  if ('reason' in endpoint) throw refused(endpoint)
  return { endpoint, clusterId: endpoint.provider === 'aurora-dsql' ? clusterId : undefined }
}

/** Returns how to open a session of the endpoint: on its own upstream server, or on the gateway's engine. */
async function sessionOpener(
  { upstream }: Endpoint,
  { engine, upstreams }: ClientServices,
  client: UpstreamClient,
): Promise<Engine['openSession']> {
  if (upstream === undefined) return (request) => engine!.openSession(request)
  const chosen = typeof upstream === 'function' ? await upstream(client) : upstream
  const target = upstreamTarget(chosen, 'upstream')
  return (request) => upstreams.open(target, request)
}

/** Applies the faults for the stage after the client's response. */
function withFaults(
  client: LoginClient,
  faults: Pick<FaultHooks, 'afterToken'>,
): LoginClient & { passFaults(): Promise<void> } {
  let isPassed = false
  const passFaults = async (): Promise<void> => {
    if (isPassed) return
    isPassed = true
    const { isCut } = await faults.afterToken()
    if (isCut) throw refused(refusal('fault', 'a fault cut the connection'))
  }
  return {
    ...client,
    passFaults,
    async ask(request) {
      const answer = await client.ask(request)
      await passFaults()
      return answer
    },
  }
}
