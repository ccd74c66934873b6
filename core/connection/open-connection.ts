/** Opens one physical connection of a login, at the pace and within the time that the login allows. */
import { PgIamError } from '../errors.js'
import { fullJitter } from '../full-jitter.js'
import { internalsOf, type Login } from '../login.js'
import { pause } from '../pause.js'
import type { VerifiedTls } from '../tls/verified-tls.js'
import { startupParameters } from '../wire/startup-packet.js'
import { dial } from './dial.js'
import { createEndpointSet, type EndpointSet } from './endpoint-set.js'
import { PADDING_PARAMETER } from './first-packet.js'
import type { Endpoint } from './log-in.js'
import { isBeforeDialling, tryEndpoints, type OpenConnection } from './try-endpoints.js'
import { withinTime } from './within-time.js'

export type { OpenConnection } from './try-endpoints.js'

export interface ConnectionRequest {
  login: Login
  tls: VerifiedTls
  /** What the driver wrote first: its startup packet or a cancel request. */
  firstPacket: Buffer
  /** Gives up and closes the socket when it fires. */
  signal: AbortSignal
}

/**
 * Logs in with a token of the login, as its user and to its database, with the other parameters of the driver's startup packet.
 * A server that refuses because too many connections come at once is asked again, with jitter, as long as there is time.
 *
 * Rejects with the original error, or with `ERR_CONNECT_TIMEOUT`, and leaves no socket, also when `signal` fires.
 */
export async function openConnection(request: ConnectionRequest): Promise<OpenConnection> {
  const { login, firstPacket, signal } = request
  const parameters = startupParameters(firstPacket)
  if (parameters === undefined) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      'the driver did not send a startup packet of PostgreSQL',
    )
  }
  parameters.delete(PADDING_PARAMETER)
  const user = login.user ?? parameters.get('user') ?? ''
  parameters.set('database', login.database)
  const attempt = {
    parameters,
    user,
    protocolVersion: firstPacket.readInt32BE(4),
    provider: login.provider,
    endpoints: endpointsOf(request),
  }
  const timeoutMs = internalsOf(login)?.connectTimeoutMs ?? DEFAULT_TIMEOUT_MS
  const endAt = Date.now() + timeoutMs
  const what = `${login.provider}: could not connect to ${login.host}`
  return withinTime({ what, timeoutMs, signal }, async (untilThen) => {
    for (let round = 1; ; round++) {
      const opened = await paced(login, untilThen, () =>
        tryEndpoints({ ...attempt, signal: untilThen }),
      )
      const delayMs = fullJitter(
        round,
        FIRST_REFUSAL_PAUSE_MS,
        LONGEST_REFUSAL_PAUSE_MS,
        Math.random,
      )
      const isTimeLeft = Date.now() + delayMs < endAt
      if (!isTimeLeft || opened.refusedWith === undefined || !TOO_MANY.has(opened.refusedWith))
        return opened
      opened.socket.destroy()
      await pause(delayMs, untilThen)
    }
  })
}

/** Sends a cancel request, which needs TLS but no token. */
export async function openForCancel(request: ConnectionRequest): Promise<OpenConnection> {
  const [endpoint] = endpointsOf(request).inOrder() as [Endpoint]
  const socket = await dial({ ...endpoint, signal: request.signal })
  socket.write(request.firstPacket)
  return { socket, received: Buffer.alloc(0), host: endpoint.host }
}

const DEFAULT_TIMEOUT_MS = 30_000
const FIRST_REFUSAL_PAUSE_MS = 100
const LONGEST_REFUSAL_PAUSE_MS = 3_000

/**
 * "Too many open connections" and "rate exceeded" of Aurora DSQL; PostgreSQL uses the first for its own limit.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
 */
const TOO_MANY: ReadonlySet<string> = new Set(['53300', '53400'])

/** The endpoints of the login, trusting the authorities that the driver's options name where the login names none. */
function endpointsOf({ login, tls }: ConnectionRequest): EndpointSet {
  const endpoints = internalsOf(login)?.endpoints
  if (endpoints === undefined) return createEndpointSet([onlyEndpoint(login, tls)])
  const { ca } = tls
  if (ca === undefined || ca === login.tls.ca) return endpoints
  const originals = new Map<Endpoint, Endpoint>()
  return {
    inOrder: () =>
      endpoints.inOrder().map((endpoint) => {
        const trusting = { ...endpoint, tls: { ...endpoint.tls, ca } }
        originals.set(trusting, endpoint)
        return trusting
      }),
    answered: (endpoint) => endpoints.answered(originals.get(endpoint) ?? endpoint),
    didNotAnswer: (endpoint) => endpoints.didNotAnswer(originals.get(endpoint) ?? endpoint),
  }
}

/** An object that was made of a login, by spreading it for example, still says where to go. */
function onlyEndpoint(login: Login, tls: VerifiedTls): Endpoint {
  return {
    host: login.host,
    address: login.connectTo ?? { host: login.host, port: login.port },
    tls,
    negotiation: login.tlsNegotiation,
    token: () => login.token(),
  }
}

/** Lets the login's pacer say when to begin, and tells it how it went. What fails before the server is reached says nothing about it. */
async function paced(
  login: Login,
  signal: AbortSignal,
  connect: () => Promise<OpenConnection>,
): Promise<OpenConnection> {
  const pacer = internalsOf(login)?.pacer
  await pacer?.admit(signal)
  const startedAt = Date.now()
  try {
    const opened = await connect()
    if (opened.refusedWith === undefined) pacer?.succeeded()
    else pacer?.failed(startedAt)
    return opened
  } catch (error) {
    if (!isBeforeDialling(error) && !signal.aborted) pacer?.failed(startedAt)
    throw error
  }
}
