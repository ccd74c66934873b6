/** The start of a connection: endpoint selection, the packets before the login, TLS, and the startup packet. */
import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  createSecureContext,
  createServer,
  type SecureContext,
  type TlsOptions,
  type TLSSocket,
} from 'node:tls'
import type { ServerError } from '../../wire/error-response.js'
import { connectionClosed, createPacketReader, type PacketReader } from '../../wire/framing.js'
import {
  CANCEL_REQUEST,
  GSSENC_REQUEST,
  PROTOCOL_3,
  SSL_REQUEST,
  startupParameters,
} from '../../wire/startup.js'
import type { Endpoint } from '../auth/endpoint.js'
import { fatal, refusal, type Refusal } from '../auth/refusal.js'
import type { GatewayCertificates } from '../certificates.js'

export interface EndpointChoice {
  readonly all: readonly Endpoint[]
  /** The endpoint for clients that cannot select one, such as those without TLS. */
  readonly first: Endpoint
  /** Selects the endpoint by the server name of the TLS handshake, or else by the cluster ID. Returns a refusal if none matches. */
  choose(servername: string | undefined, clusterId?: string): Endpoint | Refusal
}

/** A single endpoint is always selected, whatever the server name is. */
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
  const problem =
    servername === undefined ? 'has no server name' : 'has a server name that matches no endpoint'
  return refusal(
    'endpoint-unnamed',
    `there are several endpoints, and the client's TLS handshake ${problem}`,
    fatal(
      '08004',
      `the TLS handshake ${problem}`,
      'Connect with the host name of an endpoint, or set the option "listen" of the endpoint for a separate listener.',
    ),
  )
}

// Refusals as errors.

/** An error that carries a refusal. */
export function refused(reason: Refusal): Error {
  return Object.assign(new Error(reason.explanation), { refusal: reason })
}

/** The refusal that an error carries, if any. */
export function refusalOf(error: unknown): Refusal | undefined {
  return (error as { refusal?: Refusal }).refusal
}

// The packets before a login: SSLRequest, GSSENCRequest and CancelRequest.

/** The beginning of a connection: a startup packet, with or without TLS, or a cancel request. */
type Opening =
  | { readonly kind: 'startup'; readonly socket: TLSSocket; readonly packet: Buffer }
  | { readonly kind: 'unencrypted'; readonly packet: Buffer }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secretKey: number }

/**
 * Handles the packets before the login. The client starts TLS with an SSLRequest or directly.
 *
 * Rejects with a refusal (see `refusalOf`), or with the error of a lost connection.
 */
export async function readOpening(plain: Socket, tls: TlsUpgrader): Promise<Opening> {
  const reader = createPacketReader(plain)
  const first = await readFirstPacket(plain, reader)
  if (first === 'client-hello') {
    const socket = await secure(plain, tls)
    // ALPN distinguishes PostgreSQL clients from other TLS clients, such as browsers. PostgreSQL requires it too.
    if (socket.alpnProtocol !== 'postgresql') {
      socket.destroy()
      throw violation('direct TLS without the ALPN protocol "postgresql"')
    }
    return openingOver(socket)
  }
  switch (first.readInt32BE(4)) {
    case SSL_REQUEST:
      // Unencrypted data after the request may have been injected by a man in the middle (CVE-2021-23222).
      if (reader.buffered > 0) throw violation('unencrypted data after the SSLRequest')
      plain.write('S')
      return openingOver(await secure(plain, tls))
    case CANCEL_REQUEST:
      return cancelRequest(first)
    default:
      return { kind: 'unencrypted', packet: first }
  }
}

/** Reads the first packet other than a GSSENCRequest, which the gateway declines. */
async function readFirstPacket(
  plain: Socket,
  reader: PacketReader,
): Promise<Buffer | 'client-hello'> {
  const first = await reader.read(1)
  if (first[0] === TLS_HANDSHAKE) {
    plain.unshift(first)
    return 'client-hello'
  }
  const packet = await readPacket(reader, first)
  if (packet.readInt32BE(4) !== GSSENC_REQUEST) return packet
  plain.write('N')
  const next = await readPacket(reader)
  if (next.readInt32BE(4) === GSSENC_REQUEST) throw violation('a second GSSENCRequest')
  return next
}

/** The first byte of a TLS handshake record. A startup packet, with at most 10,000 bytes, begins with 0. */
const TLS_HANDSHAKE = 0x16

async function openingOver(socket: TLSSocket): Promise<Opening> {
  const packet = await readPacket(createPacketReader(socket))
  switch (packet.readInt32BE(4)) {
    case CANCEL_REQUEST:
      return cancelRequest(packet)
    case SSL_REQUEST:
    case GSSENC_REQUEST:
      throw violation('an encryption request within TLS')
    default:
      return { kind: 'startup', socket, packet }
  }
}

function cancelRequest(packet: Buffer): Opening {
  // Keys of another length belong to a newer protocol version, which the gateway never negotiates.
  if (packet.length !== 16) throw violation('a cancel request of invalid length')
  return { kind: 'cancel', processId: packet.readInt32BE(8), secretKey: packet.readInt32BE(12) }
}

/** Reads one packet without a type byte. `start` contains bytes that were already read. */
async function readPacket(reader: PacketReader, start: Buffer = Buffer.alloc(0)): Promise<Buffer> {
  const header = Buffer.concat([start, await reader.read(4 - start.length)])
  const length = header.readInt32BE(0)
  if (length < 8 || length > MAX_STARTUP_BYTES) throw violation('invalid length of startup packet')
  return Buffer.concat([header, await reader.read(length - 4)])
}

/** PostgreSQL's limit. */
const MAX_STARTUP_BYTES = 10_000

async function secure(plain: Socket, tls: TlsUpgrader): Promise<TLSSocket> {
  try {
    return await tls.upgrade(plain)
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (code === 'ECONNRESET') throw error
    throw refused(refusal('tls-failed', `the TLS handshake failed: ${code ?? message}`))
  }
}

/** The client gets no error, because it is probably not a PostgreSQL client. */
function violation(explanation: string): Error {
  return refused(refusal('protocol-violation', explanation))
}

// The startup packet.

export interface StartupRequest {
  readonly role: string
  readonly database: string
  /** All other startup parameters. */
  readonly parameters: ReadonlyMap<string, string>
  /** Unsupported protocol options (`_pq_.`). */
  readonly unknownOptions: readonly string[]
  /** Whether to send NegotiateProtocolVersion, because of the requested version or unsupported options. */
  readonly needsNegotiation: boolean
}

/** Parses a startup packet, or throws a refusal. */
export function parseStartup(packet: Buffer): StartupRequest {
  const version = packet.readInt32BE(4)
  const major = version >>> 16
  const minor = version & 0xffff
  if (major !== PROTOCOL_3 >>> 16) {
    const text = `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.0`
    throw startupViolation(text, fatal('0A000', text))
  }
  const given = startupParameters(packet)
  if (given === undefined) {
    const text = 'invalid startup packet layout: expected terminator as last byte'
    throw startupViolation(text, fatal('08P01', text))
  }
  const role = given.get('user') ?? ''
  if (role === '') {
    const text = 'no PostgreSQL user name specified in startup packet'
    throw startupViolation(text, fatal('28000', text))
  }
  refuseReplication(given.get('replication'))
  const unknownOptions = [...given.keys()].filter((name) => name.startsWith('_pq_.'))
  const parameters = new Map(given)
  for (const name of ['user', 'database', 'replication', ...unknownOptions]) parameters.delete(name)
  return {
    role,
    // PostgreSQL's default is a database with the name of the user.
    database: given.get('database') || role,
    parameters,
    unknownOptions,
    needsNegotiation: minor > 0 || unknownOptions.length > 0,
  }
}

/** Replication connections use another protocol after the login, and can read every database. */
function refuseReplication(value: string | undefined): void {
  if (value === undefined || ['false', 'off', 'no', '0'].includes(value.toLowerCase())) return
  const told = fatal('0A000', 'replication connections are not supported')
  throw refused(
    refusal('replication-refused', 'the client requested a replication connection', told),
  )
}

function startupViolation(explanation: string, told: ServerError): Error {
  return refused(refusal('protocol-violation', explanation, told))
}

// The server side of TLS on accepted sockets.

export interface TlsUpgrader {
  /** Resolves after the handshake. Rejects with its error; the socket is then closed. */
  upgrade(socket: Socket): Promise<TLSSocket>
}

/**
 * Creates an upgrader for TLS 1.2 and later. The only ALPN protocol is `postgresql`. It requests client certificates if an endpoint
 * uses them.
 */
export function createTlsUpgrader(
  { certificate, privateKey }: GatewayCertificates,
  endpoints: EndpointChoice,
): TlsUpgrader {
  const waiting = new Map<string, Waiting>()
  // This server does not listen. Emitting "connection" is the documented way to use a TLS server with an existing socket.
  const server = createServer({
    cert: certificate,
    key: privateKey,
    ...clientCertificates(endpoints, (ca) =>
      createSecureContext({ cert: certificate, key: privateKey, ca, minVersion: 'TLSv1.2' }),
    ),
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['postgresql'],
    // Disabled, because the gateway limits the time of the whole login.
    handshakeTimeout: 0x7fff_ffff,
  })
  server.on('secureConnection', (secured) => {
    const waiter = waiting.get(peerOf(secured))
    if (waiter === undefined) secured.destroy()
    else waiter.resolve(secured)
  })
  server.on('tlsClientError', (error, secured) => waiting.get(peerOf(secured))?.reject(error))

  return {
    upgrade(socket) {
      const peer = peerOf(socket)
      return new Promise((resolve, reject) => {
        const settle = (): void => {
          waiting.delete(peer)
          socket.off('close', closed)
        }
        const closed = (): void => {
          settle()
          reject(connectionClosed())
        }
        waiting.set(peer, {
          resolve(secured) {
            settle()
            resolve(secured)
          },
          reject(error) {
            settle()
            reject(error)
          },
        })
        socket.once('close', closed)
        server.emit('connection', socket)
      })
    },
  }
}

/**
 * The TLS options that request client certificates. A missing or untrusted certificate does not fail the handshake. The login method of
 * the endpoint checks it, and can send an error to the client.
 */
function clientCertificates(
  { all, first, choose }: EndpointChoice,
  contextFor: (ca: string) => SecureContext,
): TlsOptions {
  const contexts = new Map(
    all.flatMap((endpoint) => {
      const { clientAuthority } = endpoint
      return clientAuthority === undefined ? [] : [[endpoint, contextFor(clientAuthority)]]
    }),
  )
  if (contexts.size === 0) return {}
  return {
    requestCert: true,
    rejectUnauthorized: false,
    // Disables session resumption, which would skip the certificate check of another endpoint. PostgreSQL disables it too.
    secureOptions: constants.SSL_OP_NO_TICKET,
    ...(first.clientAuthority === undefined ? {} : { ca: first.clientAuthority }),
    SNICallback(servername, done) {
      const endpoint = choose(servername)
      done(null, 'reason' in endpoint ? undefined : contexts.get(endpoint))
    },
  }
}

interface Waiting {
  resolve(secured: TLSSocket): void
  reject(error: Error): void
}

/** Identifies the injected socket in the events of the TLS server. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
