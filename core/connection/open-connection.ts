/** Opens one physical connection of a login, at the pace and within the time that the login allows. */
import { PgIamError } from '../errors.js'
import { internalsOf, type Login } from '../login.js'
import type { VerifiedTls } from '../tls/verified-tls.js'
import { unlessAborted } from '../unless-aborted.js'
import { CANCEL_REQUEST, SSL_REQUEST, startupParameters } from '../wire/startup-packet.js'
import { withLogin } from './added-parameters.js'
import { connectAtPace } from './connect-at-pace.js'
import { createConnectPacer } from './connect-pacer.js'
import { isDenied } from './refusal-codes.js'
import { createEndpointSet, type EndpointSet } from './endpoint-set.js'
import { PADDING_PARAMETER } from './first-packet.js'
import { dialDestination, type Destination, type Endpoint } from './log-in.js'
import { tlsTwice } from './stream-errors.js'
import { tryEndpoints, type OpenConnection } from './try-endpoints.js'
import { withinTime } from './within-time.js'

export type { OpenConnection } from './try-endpoints.js'

export interface ConnectionRequest {
  login: Login
  tls: VerifiedTls
  /** The startup parameters that the driver's options give. Default: all that it sends. */
  given?: readonly string[] | undefined
  /** What the driver wrote first: its startup packet or a cancel request. */
  firstPacket: Buffer
  /** Gives up and closes the socket when it fires. */
  signal: AbortSignal
}

/** What the driver's first packet asks for. Throws `ERR_OPTION_CONFLICT` for TLS, which is there already. */
export function openerOf(firstPacket: Buffer): {
  open: (request: ConnectionRequest) => Promise<OpenConnection>
  isForCancel: boolean
} {
  const code = firstPacket.readInt32BE(4)
  if (code === SSL_REQUEST) throw tlsTwice()
  const isForCancel = code === CANCEL_REQUEST
  return { open: isForCancel ? openForCancel : openConnection, isForCancel }
}

/**
 * Logs in with a token of the login, as its user and to its database, with the other parameters of the driver's startup packet.
 * A server that refuses because too many connections come at once is asked again, with jitter, as long as there is time; one
 * that refuses the token is asked once more where the provider has other credentials by now.
 *
 * Rejects with the original error, or with `ERR_CONNECT_TIMEOUT`, and leaves no socket, also when `signal` fires.
 */
async function openConnection(request: ConnectionRequest): Promise<OpenConnection> {
  const { login, firstPacket, given, signal } = request
  const sent = startupParameters(firstPacket)
  if (sent === undefined) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      'the driver did not send a startup packet of PostgreSQL',
    )
  }
  sent.delete(PADDING_PARAMETER)
  const parameters = withLogin(sent, login, given)
  const user = login.user ?? parameters.get('user') ?? ''
  parameters.set('database', login.database)
  const internals = internalsOf(login)
  const attempt = {
    parameters,
    user,
    protocolVersion: firstPacket.readInt32BE(4),
    provider: login.provider,
    endpoints: endpointsOf(request),
    tokensArePasswords: internals?.tokensArePasswords ?? false,
    explainRefusal: internals?.explainRefusal,
  }
  const { pacer = createConnectPacer(), connectTimeoutMs: timeoutMs = DEFAULT_TIMEOUT_MS } =
    internals ?? {}
  const what = `${login.provider}: could not connect to ${login.host}`
  const renew = internals?.renewCredentials ?? (() => Promise.resolve(false))
  return connectAtPace({ what, timeoutMs, signal, pacer }, async (untilThen) => {
    const open = (): Promise<OpenConnection> => tryEndpoints({ ...attempt, signal: untilThen })
    const opened = await open()
    if (!isDenied(opened.refusedWith)) return opened
    // What the server said is kept; its socket is of no more use, and looking for credentials may take long.
    opened.socket.destroy()
    const hasOthers = await unlessAborted(renew(), untilThen).catch(() => false)
    return hasOthers ? open() : opened
  })
}

/** Sends a cancel request, which needs TLS but no token. The server has as long to close the connection as to accept it. */
async function openForCancel(request: ConnectionRequest): Promise<OpenConnection> {
  const { login, firstPacket, signal } = request
  const { all, resting } = endpointsOf(request)
  const left = new Set(resting())
  const [endpoint] = [...all.filter((one) => !left.has(one)), ...all] as [Endpoint]
  const timeoutMs = internalsOf(login)?.connectTimeoutMs ?? DEFAULT_TIMEOUT_MS
  const what = `${login.provider}: could not connect to ${login.host}`
  const socket = await withinTime({ what, timeoutMs, signal }, async (untilThen) =>
    dialDestination(endpoint, await unlessAborted(endpoint.find(), untilThen), untilThen),
  )
  socket.setTimeout(timeoutMs, () => socket.destroy()).write(firstPacket)
  return { socket, received: Buffer.alloc(0), host: endpoint.host }
}

const DEFAULT_TIMEOUT_MS = 30_000

/** The endpoints of the login, with the versions of TLS, and the authorities where the login names none, of the driver's options. */
function endpointsOf({ login, tls }: ConnectionRequest): EndpointSet {
  const endpoints = internalsOf(login)?.endpoints
  if (endpoints === undefined) return createEndpointSet([onlyEndpoint(login, tls)])
  if (tls === login.tls) return endpoints
  const { ca, minVersion, maxVersion } = tls
  const own = {
    minVersion,
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(ca === undefined || ca === login.tls.ca ? {} : { ca }),
  }
  const originals = new Map<Endpoint, Endpoint>()
  const trusting = new Map<Endpoint, Endpoint>()
  for (const endpoint of endpoints.all) {
    const find = async (): Promise<Destination> => {
      const found = await endpoint.find()
      return { ...found, tls: { ...found.tls, ...own } }
    }
    const copy = { ...endpoint, find }
    originals.set(copy, endpoint)
    trusting.set(endpoint, copy)
  }
  const toCopy = (endpoint: Endpoint): Endpoint => trusting.get(endpoint) ?? endpoint
  const toOriginal = (endpoint: Endpoint): Endpoint => originals.get(endpoint) ?? endpoint
  return {
    all: endpoints.all.map(toCopy),
    inOrder: () => endpoints.inOrder().map(toCopy),
    resting: () => endpoints.resting().map(toCopy),
    answered: (endpoint) => endpoints.answered(toOriginal(endpoint)),
    didNotAnswer: (endpoint) => endpoints.didNotAnswer(toOriginal(endpoint)),
  }
}

/** An object that was made of a login, by spreading it for example, still says where to go. */
function onlyEndpoint(login: Login, tls: VerifiedTls): Endpoint {
  return {
    host: login.host,
    address: login.connectTo ?? { host: login.host, port: login.port },
    tls,
    negotiation: login.tlsNegotiation,
    ...(login.keepAlive === undefined ? {} : { keepAlive: login.keepAlive }),
    find: async () => ({ tls, token: () => login.token() }),
  }
}
