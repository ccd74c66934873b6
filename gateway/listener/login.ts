/** The login of one client: startup packet, authentication, verdict, session. */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { ServerError } from '../../wire/error-response.js'
import { connectionClosed, createPacketReader } from '../../wire/framing.js'
import { FrontendType, negotiateProtocolVersion } from '../../wire/messages.js'
import { sha256 } from '../../wire/scram.js'
import { PROTOCOL_3 } from '../../wire/startup.js'
import { takeClusterId } from '../auth/aurora-dsql.js'
import type { Endpoint } from '../auth/endpoint.js'
import { fatal, refusal } from '../auth/refusal.js'
import {
  type AcceptedLogin,
  type ClientCertificate,
  type LoginClient,
  missingTarget,
} from '../auth/verifier.js'
import type { Engine, EngineSession, SessionRequest } from '../engines/engine.js'
import type { FaultHooks, LoginPlace } from '../faults/faults.js'
import type { Room } from './limits.js'
import { type EndpointChoice, refused, type StartupRequest } from './startup.js'

export interface LoginServices {
  endpoints: EndpointChoice
  /** The roles and the database that exist. */
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
  /** Releases the session's share of `maxConnections`. */
  readonly leaveSeat: () => void
}

/**
 * Authenticates a client and opens its session. The caller sends `AuthenticationOk`.
 *
 * Rejects with a refusal (see `refusalOf`), or with the error of a lost connection.
 */
export async function logIn(
  socket: TLSSocket,
  request: StartupRequest,
  services: LoginServices,
): Promise<LoggedIn> {
  const { clusterId, parameters } = takeClusterId(request.parameters)
  const endpoint = services.endpoints.choose(servernameOf(socket), clusterId)
  if ('reason' in endpoint) throw refused(endpoint)
  // This error is sent before authentication, as PostgreSQL does.
  if (!services.room.hasSeat) throw tooManyConnections(endpoint)
  const place = services.faults.admitLogin()
  if (place instanceof ServerError)
    throw refused(refusal('fault', 'a fault refused the login', place))
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

/** The server name (SNI) of the client's TLS handshake, which selects the endpoint. */
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
    const told = new ServerError(...errorForClient(error))
    throw refused(
      refusal('engine-refused', `the engine opened no session: ${messageOf(error)}`, told),
    )
  }
}

/** A custom engine may throw any error. Only errors with an SQLSTATE are passed to the client. */
function errorForClient(error: unknown): ConstructorParameters<typeof ServerError> {
  const { sqlState, code, message, detail, hint } = (error ?? {}) as Record<string, unknown>
  const state = sqlState ?? code
  // Node also has error codes of five letters, such as EPIPE. No SQLSTATE begins with E.
  if (typeof state !== 'string' || !/^[0-9A-DF-Z][0-9A-Z]{4}$/.test(state))
    return ['58000', 'the engine of the gateway could not open a session', FATAL]
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
  return error instanceof Error ? error.message : 'unknown reason'
}

function settingRefused(told: ServerError): Error {
  return refused(refusal('setting-refused', `the startup packet: ${told.message}`, told))
}

function tooManyConnections({ errors }: Endpoint): Error {
  const explanation = 'the limit "maxConnections" is reached'
  return refused(refusal('too-many-connections', explanation, errors.tooManyConnections()))
}

// The client during its login, as the login method uses it.

interface ConnectedClient extends LoginClient {
  /** Settles as `work` does, or rejects if the connection closes before. */
  whileConnected<T>(work: T | Promise<T>): Promise<T>
  /** Applies the faults for the stage after the client's response. Does nothing when called again. */
  passFaults(): Promise<void>
}

/** `ask` and `passFaults` reject with a refusal (see `refusalOf`), or with the error of a lost connection. */
function createLoginClient(
  socket: TLSSocket,
  faults: Pick<FaultHooks, 'afterToken'>,
): ConnectedClient {
  let isPassed = false
  const passFaults = async (): Promise<void> => {
    if (isPassed) return
    isPassed = true
    const { isCut } = await faults.afterToken()
    if (isCut) throw refused(refusal('fault', 'a fault cut the connection'))
  }
  return {
    async whileConnected(work) {
      let leave: (() => void) | undefined
      const left = new Promise<never>((_resolve, reject) => {
        leave = () => reject(connectionClosed())
        if (socket.destroyed) leave()
        else socket.once('close', leave)
      })
      try {
        return await Promise.race([work, left])
      } finally {
        if (leave !== undefined) socket.off('close', leave)
      }
    },
    passFaults,
    async ask(request) {
      socket.write(request)
      const answer = await readAnswer(socket)
      await passFaults()
      return answer
    },
    tell: (message) => void socket.write(message),
    // RFC 5929 uses the hash of the certificate's signature algorithm, which is SHA-256 for the gateway's certificates.
    channelBinding: () => sha256(socket.getX509Certificate()?.raw ?? Buffer.alloc(0)),
    certificate: () => certificateOf(socket),
  }
}

/** Reads the body of one response. The limit is far above the size of tokens: with a session token they have about 2 kB. */
async function readAnswer(socket: Socket): Promise<Buffer> {
  const reader = createPacketReader(socket)
  const header = await reader.read(5)
  const type = header[0]!
  if (type !== FrontendType.password)
    throw violation(`expected password response, got message type ${type}`)
  const length = header.readInt32BE(1) - 4
  if (length < 0 || length > MAX_ANSWER_BYTES) throw violation('invalid password packet size')
  return reader.read(length)
}

const MAX_ANSWER_BYTES = 65_536

function violation(explanation: string): Error {
  return refused(refusal('protocol-violation', explanation, fatal('08P01', explanation)))
}

function certificateOf(socket: TLSSocket): ClientCertificate | undefined {
  if (socket.getPeerX509Certificate() === undefined) return undefined
  const name: unknown = socket.getPeerCertificate().subject.CN
  const commonName: unknown = Array.isArray(name) ? name[0] : name
  // On the server side, this is OpenSSL's error code, although its type is Error.
  const fault = socket.authorized ? undefined : String(socket.authorizationError ?? 'unknown')
  return { commonName: typeof commonName === 'string' ? commonName : undefined, fault }
}

// The time limit of the whole login.

interface Deadline {
  /**
   * Settles as `work` does, or rejects with the error of `timedOut` at the deadline, or with the reason of `cut`. A later result is
   * passed to `late`.
   */
  race<T>(work: Promise<T>, timedOut: () => Error, late?: (result: T) => void): Promise<T>
  /** Expires the deadline now. */
  cut(reason: () => Error): void
  clear(): void
}

export function createDeadline(milliseconds: number): Deadline {
  let expired = false
  let cutReason: (() => Error) | undefined
  let expire: (() => void) | undefined
  const end = (): void => {
    expired = true
    expire?.()
  }
  const timer = setTimeout(end, milliseconds)
  return {
    race: (work, timedOut, late) =>
      new Promise((resolve, reject) => {
        expire = () => reject((cutReason ?? timedOut)())
        work.then((result) => (expired ? late?.(result) : resolve(result)), reject)
        if (expired) expire()
      }),
    cut(reason) {
      cutReason = reason
      end()
    },
    clear: () => clearTimeout(timer),
  }
}
