/** Opens one physical connection of a login, within the login's rate and time limits. */
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
  type Dial,
  dialEndpoint,
  type Endpoint,
  type LoggedIn,
  logIn,
  type LoginAttempt,
  type ResolvedEndpoint,
  withLoginParameters,
} from './log-in.js'

/**
 * A startup parameter that is not sent to the server. A driver that buffers small writes sends its startup packet immediately if this
 * parameter has a long value.
 */
export const PADDING_PARAMETER = 'pg_iam.padding'

interface ConnectionRequest {
  login: Login
  tls: VerifiedTls
  /** The startup parameters that the driver's options give. Default: all that it sends. */
  given?: readonly string[] | undefined
  /** The driver's first packet: a startup packet or a cancel request. */
  firstPacket: Buffer
  /** Opens the verified connection. Default: TLS over TCP. */
  dial?: Dial | undefined
  /** Aborts the attempt and closes its socket. */
  signal: AbortSignal
}

/** Returns how to open a connection for the driver's first packet. Throws `ERR_OPTION_CONFLICT` for an SSLRequest: TLS is already on. */
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
 * Logs in with a token of the login, as its user and to its database, with the other parameters of the driver's startup packet. A server
 * that refuses because of too many connections is retried with jitter, within the time limit. A server that rejects the token is retried
 * once if the provider has new credentials.
 *
 * Rejects with the original error or with `ERR_CONNECT_TIMEOUT`, and closes its socket, also when `signal` aborts.
 */
async function openConnection(request: ConnectionRequest): Promise<OpenConnection> {
  const { login, firstPacket, given, dial, signal } = request
  const sent = startupParameters(firstPacket)
  if (sent === undefined) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      'the driver did not send a PostgreSQL startup packet',
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
    dial,
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
    // The server's error is kept. Its socket is closed first, since loading credentials may take long.
    opened.socket.destroy()
    const hasNew = await abortable(renew(), limited).catch(() => false)
    return hasNew ? open() : opened
  })
}

/** Sends a cancel request, which needs TLS but no token. The time limit applies to connecting and again to the server's close. */
async function openForCancel(request: ConnectionRequest): Promise<OpenConnection> {
  const { login, firstPacket, dial = dialEndpoint, signal } = request
  const { all, coolingDown } = endpointsOf(request)
  const failed = new Set(coolingDown())
  const [endpoint] = [...all.filter((one) => !failed.has(one)), ...all] as [Endpoint]
  const timeoutMs = internalsOf(login)?.connectTimeoutMs ?? DEFAULT_TIMEOUT_MS
  const what = `${login.provider}: could not connect to ${login.host}`
  const socket = await withConnectTimeout({ what, timeoutMs, signal }, async (limited) =>
    dial(endpoint, await abortable(endpoint.resolve(), limited), limited),
  )
  socket.setTimeout(timeoutMs, () => socket.destroy()).write(firstPacket)
  return { socket, received: Buffer.alloc(0), host: endpoint.host }
}

const DEFAULT_TIMEOUT_MS = 30_000

/** The endpoints of the login, with the TLS versions of the driver's options, and with their CAs if the login has none. */
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
      const resolved = await endpoint.resolve()
      return { ...resolved, tls: { ...resolved.tls, ...own } }
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

/** For an object derived from a login, for example by spreading it. */
function onlyEndpoint(login: Login, tls: VerifiedTls): Endpoint {
  return {
    host: login.host,
    address: login.connectTo ?? { host: login.host, port: login.port },
    ...(login.connectTo === undefined ? {} : { connectTo: login.connectTo }),
    tls,
    negotiation: login.tlsNegotiation,
    ...(login.keepAlive === undefined ? {} : { keepAlive: login.keepAlive }),
    resolve: async () => ({ tls, token: () => login.token() }),
  }
}

export interface OpenConnection extends LoggedIn {
  /** The host of the connection. */
  host: string
}

/** External dependencies of an attempt, as parameters for simulations. */
interface FailoverDeps {
  logIn: (attempt: LoginAttempt) => Promise<LoggedIn>
  after: After
}

export interface FailoverAttempt extends Omit<LoginAttempt, 'endpoint'> {
  provider: string
  endpoints: EndpointHealth
}

/**
 * Tries the endpoints in order. An endpoint that does not answer cools down; one that rejects the login has answered, which ends the
 * attempt. While another endpoint is left, each has five seconds. An endpoint at its connection limit does not cool down, and no endpoint
 * that is cooling down is tried instead of it: each attempt would wait for a dead endpoint while the live one is busy.
 *
 * Rejects with the original error of a single endpoint, and for several with `ERR_CONNECT_FAILED`, whose `cause` is an `AggregateError`
 * with the error of each. A failure before dialling, such as of a token, ends the attempt.
 */
export async function logInWithFailover(
  attempt: FailoverAttempt,
  deps: Partial<FailoverDeps> = {},
): Promise<OpenConnection> {
  const { endpoints, provider, signal } = attempt
  const coolingDown = new Set(endpoints.coolingDown())
  const inOrder = endpoints.inOrder()
  const errors: unknown[] = []
  let refused: OpenConnection | undefined
  for (const [index, endpoint] of inOrder.entries()) {
    if (coolingDown.has(endpoint) && isConnectionLimit(refused?.refusedWith)) break
    try {
      const isAnotherLeft = index < inOrder.length - 1
      const opened = await logInAtEndpoint(attempt, endpoint, isAnotherLeft, deps)
      if (!shouldFailOver(opened.refusedWith)) {
        endpoints.markReachable(endpoint)
        return { ...opened, host: endpoint.host }
      }
      // The driver only needs the server's error, and nothing listens to the socket while the next endpoint is tried.
      opened.socket.destroy()
      refused = { ...opened, host: endpoint.host }
      errors.push(
        new Error(`the server at ${endpoint.host} refused the connection (${opened.refusedWith})`),
      )
      if (isConnectionLimit(opened.refusedWith)) {
        endpoints.markReachable(endpoint)
        continue
      }
    } catch (error) {
      if (signal.aborted || isBeforeDialling(error)) throw error
      errors.push(error)
    }
    endpoints.markFailed(endpoint)
  }
  // The server's error is passed to the driver, which creates its own error from it.
  if (refused !== undefined) return refused
  throw errors.length === 1 ? errors[0] : allEndpointsFailed(provider, inOrder, errors)
}

const FAILOVER_TIMEOUT_MS = 5_000

function logInAtEndpoint(
  attempt: FailoverAttempt,
  endpoint: Endpoint,
  isAnotherLeft: boolean,
  { logIn: logInAt = logIn, after }: Partial<FailoverDeps>,
): Promise<LoggedIn> {
  if (!isAnotherLeft) return logInAt({ ...attempt, endpoint })
  const { provider, signal } = attempt
  const limit = {
    what: `${provider}: could not connect to ${endpoint.host}`,
    timeoutMs: FAILOVER_TIMEOUT_MS,
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
