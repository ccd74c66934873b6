/** The login of one client: startup packet, proof of who it is, verdict, session. */
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

function tooManyConnections({ errors }: Endpoint): Error {
  const explanation = '"maxConnections" are open already'
  return refused(refusal('too-many-connections', explanation, errors.tooManyConnections()))
}

// The client of a login as its method sees it: questions, answers, and the certificate of its TLS.

interface ListenedClient extends LoginClient {
  /** Settles as `work` does, or rejects when the connection ends before: nobody waits for a check that nobody needs. */
  whileConnected<T>(work: T | Promise<T>): Promise<T>
  /** Lets the faults happen that wait for a client's answer. Does nothing the second time. */
  passFaults(): Promise<void>
}

/** `ask` and `passFaults` reject with a refusal (see `refusalOf`), or with the error of a connection that broke. */
function createLoginClient(
  socket: TLSSocket,
  faults: Pick<FaultHooks, 'afterToken'>,
): ListenedClient {
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
    // The hash is that of the certificate's signature, which is SHA-256 for all that the gateway makes.
    channelBinding: () => sha256(socket.getX509Certificate()?.raw ?? Buffer.alloc(0)),
    certificate: () => certificateOf(socket),
  }
}

/** Reads the body of one answer. Its limit is far above any token: those with session tokens have some 2 kB. */
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
  // In servers it is OpenSSL's name for the fault, whatever its type says.
  const fault = socket.authorized ? undefined : String(socket.authorizationError ?? 'unknown')
  return { commonName: typeof commonName === 'string' ? commonName : undefined, fault }
}

// The time that a client has for its whole login.

interface Deadline {
  /**
   * Settles as `work` does, or rejects with what `timedOut` makes at the deadline, or with the reason of `cut`. A result that comes
   * after that is handed to `late`.
   */
  race<T>(work: Promise<T>, timedOut: () => Error, late?: (result: T) => void): Promise<T>
  /** Ends the time now. */
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
