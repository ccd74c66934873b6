/** Opens one physical connection of a login, at the pace and within the time that the login allows. */
import { PgIamError } from '../errors.js'
import { fullJitter } from '../full-jitter.js'
import { internalsOf, type Login } from '../login.js'
import { pause } from '../pause.js'
import type { VerifiedTls } from '../tls/verified-tls.js'
import { startupParameters } from '../wire/startup-packet.js'
import { dial } from './dial.js'
import { logIn, type Endpoint, type LoggedIn } from './log-in.js'

export interface ConnectionRequest {
  login: Login
  tls: VerifiedTls
  /** What the driver wrote first: its startup packet or a cancel request. */
  firstPacket: Buffer
  /** Gives up and closes the socket when it fires. */
  signal: AbortSignal
}

export interface OpenConnection extends LoggedIn {
  /** The host that the connection is to. */
  host: string
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
  const user = login.user ?? parameters.get('user') ?? ''
  parameters.set('database', login.database)
  const protocolVersion = firstPacket.readInt32BE(4)

  const timeoutMs = internalsOf(login)?.connectTimeoutMs ?? DEFAULT_TIMEOUT_MS
  return withinTime(login, timeoutMs, signal, async (untilThen) => {
    const endAt = Date.now() + timeoutMs
    for (let attempt = 1; ; attempt++) {
      const opened = await paced(login, untilThen, () => {
        const endpoint = endpointOf(request)
        return logIn({ endpoint, parameters, protocolVersion, user, signal: untilThen })
      })
      const delayMs = fullJitter(
        attempt,
        FIRST_REFUSAL_PAUSE_MS,
        LONGEST_REFUSAL_PAUSE_MS,
        Math.random,
      )
      const isLast = Date.now() + delayMs >= endAt
      if (isLast || opened.refusedWith === undefined || !TOO_MANY.has(opened.refusedWith))
        return { ...opened, host: login.host }
      opened.socket.destroy()
      await pause(delayMs, untilThen)
    }
  })
}

/** Sends a cancel request, which needs TLS but no token. */
export async function openForCancel(request: ConnectionRequest): Promise<OpenConnection> {
  const endpoint = endpointOf(request)
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

function endpointOf({ login, tls }: ConnectionRequest): Endpoint {
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
  connect: () => Promise<LoggedIn>,
): Promise<LoggedIn> {
  const pacer = internalsOf(login)?.pacer
  await pacer?.admit(signal)
  const startedAt = Date.now()
  try {
    const opened = await connect()
    if (opened.refusedWith === undefined) pacer?.succeeded()
    else pacer?.failed(startedAt)
    return opened
  } catch (error) {
    if (!(error instanceof PgIamError) && !signal.aborted) pacer?.failed(startedAt)
    throw error
  }
}

/** Runs `work` with a signal that fires with the caller's, or when the time is up. */
async function withinTime<T>(
  login: Login,
  timeoutMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(), timeoutMs)
  try {
    return await work(AbortSignal.any([signal, timeout.signal]))
  } catch (cause) {
    if (!timeout.signal.aborted) throw cause
    throw new PgIamError(
      'ERR_CONNECT_TIMEOUT',
      `${login.provider}: could not connect to ${login.host} within ${timeoutMs} ms`,
      {
        cause,
        retryable: true,
        hint: 'Check that the address can be reached from here, or raise "connectTimeoutMs".',
      },
    )
  } finally {
    clearTimeout(timer)
  }
}
