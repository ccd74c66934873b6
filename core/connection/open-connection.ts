/** Opens one physical connection of a login, at the pace and within the time that the login allows. */
import { CANCEL_REQUEST, SSL_REQUEST, startupParameters } from '../../wire/startup.js'
import { abortable, type After, withConnectTimeout } from '../async.js'
import { PgIamError } from '../errors.js'
import { internalsOf, type Login } from '../login.js'
import type { VerifiedTls } from '../tls.js'
import { connectWithBackoff, createConnectLimiter } from './connect-limiter.js'
import { tlsTwice } from './driver-socket.js'
import {
  createEndpointHealth,
  type EndpointHealth,
  isAuthRejected,
  isBeforeDialling,
  isConnectionLimit,
  shouldFailOver,
} from './endpoint-health.js'
import {
  dialEndpoint,
  type Endpoint,
  type LoggedIn,
  logIn,
  type LoginAttempt,
  type ResolvedEndpoint,
  withLoginParameters,
} from './log-in.js'

/**
 * A startup parameter that is left out of what the server gets. A driver that buffers small writes can be made to send its
 * startup packet at once by giving this one a long value.
 */
export const PADDING_PARAMETER = 'pg_iam.padding'

interface ConnectionRequest {
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
export function parseFirstPacket(firstPacket: Buffer): {
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
  const parameters = withLoginParameters(sent, login, given)
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
  const {
    connectLimiter: limiter = createConnectLimiter(),
    connectTimeoutMs: timeoutMs = DEFAULT_TIMEOUT_MS,
  } = internals ?? {}
  const what = `${login.provider}: could not connect to ${login.host}`
  const renew = internals?.renewCredentials ?? (() => Promise.resolve(false))
  return connectWithBackoff({ what, timeoutMs, signal, limiter }, async (limited) => {
    const open = (): Promise<OpenConnection> => logInWithFailover({ ...attempt, signal: limited })
    const opened = await open()
    if (!isAuthRejected(opened.refusedWith)) return opened
    // What the server said is kept; its socket is of no more use, and looking for credentials may take long.
    opened.socket.destroy()
    const hasOthers = await abortable(renew(), limited).catch(() => false)
    return hasOthers ? open() : opened
  })
}

/** Sends a cancel request, which needs TLS but no token. The server has as long to close the connection as to accept it. */
async function openForCancel(request: ConnectionRequest): Promise<OpenConnection> {
  const { login, firstPacket, signal } = request
  const { all, coolingDown } = endpointsOf(request)
  const failed = new Set(coolingDown())
  const [endpoint] = [...all.filter((one) => !failed.has(one)), ...all] as [Endpoint]
  const timeoutMs = internalsOf(login)?.connectTimeoutMs ?? DEFAULT_TIMEOUT_MS
  const what = `${login.provider}: could not connect to ${login.host}`
  const socket = await withConnectTimeout({ what, timeoutMs, signal }, async (limited) =>
    dialEndpoint(endpoint, await abortable(endpoint.resolve(), limited), limited),
  )
  socket.setTimeout(timeoutMs, () => socket.destroy()).write(firstPacket)
  return { socket, received: Buffer.alloc(0), host: endpoint.host }
}

const DEFAULT_TIMEOUT_MS = 30_000

/** The endpoints of the login, with the versions of TLS, and the authorities where the login names none, of the driver's options. */
function endpointsOf({ login, tls }: ConnectionRequest): EndpointHealth {
  const endpoints = internalsOf(login)?.endpoints
  if (endpoints === undefined) return createEndpointHealth([onlyEndpoint(login, tls)])
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
    const resolve = async (): Promise<ResolvedEndpoint> => {
      const found = await endpoint.resolve()
      return { ...found, tls: { ...found.tls, ...own } }
    }
    const copy = { ...endpoint, resolve }
    originals.set(copy, endpoint)
    trusting.set(endpoint, copy)
  }
  const toCopy = (endpoint: Endpoint): Endpoint => trusting.get(endpoint) ?? endpoint
  const toOriginal = (endpoint: Endpoint): Endpoint => originals.get(endpoint) ?? endpoint
  return {
    all: endpoints.all.map(toCopy),
    inOrder: () => endpoints.inOrder().map(toCopy),
    coolingDown: () => endpoints.coolingDown().map(toCopy),
    markReachable: (endpoint) => endpoints.markReachable(toOriginal(endpoint)),
    markFailed: (endpoint) => endpoints.markFailed(toOriginal(endpoint)),
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
    resolve: async () => ({ tls, token: () => login.token() }),
  }
}

export interface OpenConnection extends LoggedIn {
  /** The host that the connection is to. */
  host: string
}

/** What an attempt meets outside of this process, as parameters for simulations. */
interface FailoverDeps {
  logIn: (attempt: LoginAttempt) => Promise<LoggedIn>
  after: After
}

export interface FailoverAttempt extends Omit<LoginAttempt, 'endpoint'> {
  provider: string
  endpoints: EndpointHealth
}

/**
 * Tries the endpoints in turn. One that does not answer is left alone for a while; one that refuses the login for good has
 * answered. While there is another to go to, an endpoint gets five seconds. One that has too many connections is not left
 * alone, and one that is left alone is not tried in its place: that would wait for a dead one each time that a living one is busy.
 *
 * Rejects with the error of a single endpoint as it is, and of several with `ERR_CONNECT_FAILED`, whose `cause` is an
 * `AggregateError` with the error of each. What fails before an endpoint is reached, such as a token, ends the attempt.
 */
export async function logInWithFailover(
  attempt: FailoverAttempt,
  deps: Partial<FailoverDeps> = {},
): Promise<OpenConnection> {
  const { endpoints, provider, signal } = attempt
  const resting = new Set(endpoints.coolingDown())
  const inOrder = endpoints.inOrder()
  const errors: unknown[] = []
  let refused: OpenConnection | undefined
  for (const [index, endpoint] of inOrder.entries()) {
    if (resting.has(endpoint) && isConnectionLimit(refused?.refusedWith)) break
    try {
      const isAnotherLeft = index < inOrder.length - 1
      const opened = await logInThere(attempt, endpoint, isAnotherLeft, deps)
      if (!shouldFailOver(opened.refusedWith)) {
        refused?.socket.destroy()
        endpoints.markReachable(endpoint)
        return { ...opened, host: endpoint.host }
      }
      refused?.socket.destroy()
      refused = { ...opened, host: endpoint.host }
      errors.push(
        new Error(`the server at ${endpoint.host} refused the connection (${opened.refusedWith})`),
      )
      if (isConnectionLimit(opened.refusedWith)) {
        endpoints.markReachable(endpoint)
        continue
      }
    } catch (error) {
      if (signal.aborted || isBeforeDialling(error)) {
        refused?.socket.destroy()
        throw error
      }
      errors.push(error)
    }
    endpoints.markFailed(endpoint)
  }
  // The server's own words are for the driver, which makes its error of them.
  if (refused !== undefined) return refused
  throw errors.length === 1 ? errors[0] : allEndpointsFailed(provider, inOrder, errors)
}

const TIME_WITH_ANOTHER_TO_GO_MS = 5_000

function logInThere(
  attempt: FailoverAttempt,
  endpoint: Endpoint,
  isAnotherLeft: boolean,
  { logIn: logInAt = logIn, after }: Partial<FailoverDeps>,
): Promise<LoggedIn> {
  if (!isAnotherLeft) return logInAt({ ...attempt, endpoint })
  const { provider, signal } = attempt
  const limit = {
    what: `${provider}: could not connect to ${endpoint.host}`,
    timeoutMs: TIME_WITH_ANOTHER_TO_GO_MS,
    signal,
    ...(after === undefined ? {} : { after }),
  }
  return withConnectTimeout(limit, (limited) => logInAt({ ...attempt, endpoint, signal: limited }))
}

function allEndpointsFailed(
  provider: string,
  endpoints: readonly Endpoint[],
  errors: unknown[],
): PgIamError {
  const hosts = endpoints.map(({ host }) => host).join(', ')
  return new PgIamError('ERR_CONNECT_FAILED', `${provider}: could not connect to any of ${hosts}`, {
    cause: new AggregateError(errors, 'no endpoint answered'),
    retryable: true,
  })
}
