/** The login of one client: startup packet, proof of who it is, verdict, session. */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { PROTOCOL_3 } from '../../core/wire/startup-packet.js'
import { takeClusterId } from '../auth/aurora-dsql/cluster-id.js'
import type { Endpoint } from '../auth/endpoint.js'
import { missingTarget } from '../auth/existing.js'
import { refusal } from '../auth/refusal.js'
import type { AcceptedLogin } from '../auth/verifier.js'
import type { Engine, EngineSession, SessionRequest } from '../engines/engine.js'
import type { FaultHooks, LoginPlace } from '../faults/faults.js'
import { negotiateProtocolVersion } from '../wire/backend-messages.js'
import { ServerError } from '../wire/server-error.js'
import type { EndpointChoice } from './endpoint-choice.js'
import { createLoginClient } from './login-client.js'
import { refused } from './login-refused.js'
import type { Room } from './room.js'
import type { StartupRequest } from './startup-request.js'

export interface LoginServices {
  endpoints: EndpointChoice
  /** What a login can ask for. */
  existing: { readonly roles: readonly string[]; readonly database: string }
  engine: Pick<Engine, 'openSession'>
  room: Pick<Room, 'hasSeat' | 'takeSeat'>
  faults: FaultHooks
}

export interface LoggedIn {
  readonly session: EngineSession
  readonly endpoint: Endpoint
  readonly login: AcceptedLogin
  readonly place: LoginPlace
  /** Gives back the place that it has among the `maxConnections`. */
  readonly leaveSeat: () => void
}

/**
 * Takes a client from its startup request to an open session; of the answer, nothing is sent yet that would say so.
 *
 * Rejects with a refusal (see `refusalOf`), or with the error of a connection that broke.
 */
export async function logIn(
  socket: TLSSocket,
  request: StartupRequest,
  services: LoginServices,
): Promise<LoggedIn> {
  const { clusterId, parameters } = takeClusterId(request.parameters)
  const endpoint = services.endpoints.choose(servernameOf(socket), clusterId)
  if ('reason' in endpoint) throw refused(endpoint)
  // Nobody need prove who they are to hear this.
  if (!services.room.hasSeat) throw tooManyConnections(endpoint)
  const place = services.faults.admitLogin()
  if (place instanceof ServerError) throw refused(refusal('fault', 'a fault refused it', place))
  try {
    const own =
      endpoint.provider === 'aurora-dsql' ? { ...request, clusterId, parameters } : request
    const login = await authenticate(socket, own, endpoint, services)
    const { role, database } = request
    const wanted = endpoint.rules?.startup(own.parameters) ?? own.parameters
    if (wanted instanceof ServerError) throw settingRefused(wanted)
    const leaveSeat = services.room.takeSeat()
    if (leaveSeat === undefined) throw tooManyConnections(endpoint)
    try {
      const session = await openSession(services.engine, { role, database, parameters: wanted })
      return { session, login, endpoint, place, leaveSeat }
    } catch (error) {
      leaveSeat()
      throw error
    }
  } catch (error) {
    place.leave()
    throw error
  }
}

type OwnRequest = StartupRequest & { clusterId?: string | undefined }

async function authenticate(
  socket: TLSSocket,
  { role, database, clusterId, needsNegotiation, unknownOptions }: OwnRequest,
  { method }: Endpoint,
  { existing, faults }: LoginServices,
): Promise<AcceptedLogin> {
  if (needsNegotiation) socket.write(negotiateProtocolVersion(PROTOCOL_3, unknownOptions))
  const asked = { role, database, servername: servernameOf(socket), clusterId }
  const client = createLoginClient(socket, faults)
  const verdict = await client.whileConnected(method.authenticate(asked, client))
  await client.passFaults()
  if ('refused' in verdict) throw refused(verdict.refused)
  const missing = missingTarget(asked, existing)
  if (missing !== undefined) throw refused(missing.refused)
  return verdict.accepted
}

/** The server name of the client's TLS handshake: the endpoint that it means to talk to. */
export function servernameOf(socket: Socket): string | undefined {
  const { servername } = socket as { servername?: string | false | null }
  return servername || undefined
}

async function openSession(
  engine: Pick<Engine, 'openSession'>,
  request: SessionRequest,
): Promise<EngineSession> {
  try {
    return await engine.openSession(request)
  } catch (error) {
    const told = new ServerError(...toldTo(error))
    throw refused(
      refusal('engine-refused', `the engine opened no session: ${messageOf(error)}`, told),
    )
  }
}

/** An engine of the caller's own may throw any error: what names an SQLSTATE is for the client, everything else is not. */
function toldTo(error: unknown): ConstructorParameters<typeof ServerError> {
  const { sqlState, code, message, detail, hint } = (error ?? {}) as Record<string, unknown>
  const state = sqlState ?? code
  // Node has codes of five letters, too: EPIPE. No SQLSTATE begins with an E.
  if (typeof state !== 'string' || !/^[0-9A-DF-Z][0-9A-Z]{4}$/.test(state))
    return ['58000', 'the engine behind the gateway could not open a session', FATAL]
  return [
    state,
    String(message),
    {
      ...FATAL,
      ...(typeof detail === 'string' ? { detail } : {}),
      ...(typeof hint === 'string' ? { hint } : {}),
    },
  ]
}

const FATAL = { severity: 'FATAL' } as const

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'for an unknown reason'
}

function settingRefused(told: ServerError): Error {
  return refused(refusal('setting-refused', `the startup packet: ${told.message}`, told))
}

function tooManyConnections({ answers }: Endpoint): Error {
  const explanation = '"maxConnections" are open already'
  return refused(refusal('too-many-connections', explanation, answers.tooManyConnections()))
}
