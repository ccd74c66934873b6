/** Which endpoint a client of one listener means. */
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
  /** Has a word for clients that cannot name an endpoint yet, such as those without TLS. */
  readonly first: Endpoint
  /** The endpoint that a client names in its TLS handshake, or else by the ID of a cluster; or why it gets none. */
  choose(servername: string | undefined, clusterId?: string): Endpoint | Refusal
}

/** Where there is one endpoint alone, all clients mean that, whatever name they know it by. */
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
  const named = servername === undefined ? 'no server name' : 'a server name of no endpoint'
  return refusal(
    'endpoint-unnamed',
    `the client's TLS handshake has ${named}, and there are several endpoints`,
    fatal(
      '08004',
      `the TLS handshake has ${named}`,
      'Dial an endpoint by its name, or give it a listener of its own ("listen").',
    ),
  )
}

// Carries a refusal from where it is found out to where the connection is ended.

/** An error that stands for a refusal. */
export function refused(reason: Refusal): Error {
  return Object.assign(new Error(reason.explanation), { refusal: reason })
}

/** The refusal that an error stands for, if it stands for one. */
export function refusalOf(error: unknown): Refusal | undefined {
  return (error as { refusal?: Refusal }).refusal
}

// The packets before a login: requests for TLS, for GSSAPI encryption, and to cancel a query.

/** How a connection begins: with a startup packet, over TLS or without it, or with a request to cancel a query. */
type Opening =
  | { readonly kind: 'startup'; readonly socket: TLSSocket; readonly packet: Buffer }
  | { readonly kind: 'unencrypted'; readonly packet: Buffer }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secretKey: number }

/**
 * Answers what comes before the login, and returns what the client is here for. TLS begins as the client wants it: on
 * request, or at once.
 *
 * Rejects with a refusal (see `refusalOf`), or with the error of a connection that broke.
 */
export async function readOpening(plain: Socket, tls: TlsUpgrader): Promise<Opening> {
  const reader = createPacketReader(plain)
  const first = await readFirstPacket(plain, reader)
  if (first === 'client-hello') {
    const socket = await secure(plain, tls)
    // Only the protocol's name tells a PostgreSQL client from a browser here; PostgreSQL insists on it, too.
    if (socket.alpnProtocol !== 'postgresql') {
      socket.destroy()
      throw violation('direct TLS without the ALPN protocol "postgresql"')
    }
    return openingOver(socket)
  }
  switch (first.readInt32BE(4)) {
    case SSL_REQUEST:
      // Bytes behind the request were sent by somebody who did not wait for TLS, maybe in between (CVE-2021-23222).
      if (reader.buffered > 0) throw violation('unencrypted data after the request for TLS')
      plain.write('S')
      return openingOver(await secure(plain, tls))
    case CANCEL_REQUEST:
      return cancelRequest(first)
    default:
      return { kind: 'unencrypted', packet: first }
  }
}

/** Reads the first packet that is not a request for GSSAPI encryption, which the gateway does not have. */
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
  if (next.readInt32BE(4) === GSSENC_REQUEST)
    throw violation('GSSAPI encryption was asked for twice')
  return next
}

/** The first byte of a TLS record that begins a handshake. A packet of at most 10,000 bytes begins with 0. */
const TLS_HANDSHAKE = 0x16

async function openingOver(socket: TLSSocket): Promise<Opening> {
  const packet = await readPacket(createPacketReader(socket))
  switch (packet.readInt32BE(4)) {
    case CANCEL_REQUEST:
      return cancelRequest(packet)
    case SSL_REQUEST:
    case GSSENC_REQUEST:
      throw violation('encryption was asked for within TLS')
    default:
      return { kind: 'startup', socket, packet }
  }
}

function cancelRequest(packet: Buffer): Opening {
  // Keys of another length come from a newer protocol version, which this gateway never agreed to.
  if (packet.length !== 16) throw violation('a cancel request of a wrong length')
  return { kind: 'cancel', processId: packet.readInt32BE(8), secretKey: packet.readInt32BE(12) }
}

/** Reads one packet without a type byte, of which `start` is known already. */
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

/** Whoever talks like this is told nothing: it is hardly a PostgreSQL client. */
function violation(explanation: string): Error {
  return refused(refusal('protocol-violation', explanation))
}

// What a client asks for in its startup packet.

export interface StartupRequest {
  readonly role: string
  readonly database: string
  /** All other parameters of the session. */
  readonly parameters: ReadonlyMap<string, string>
  /** Protocol options (`_pq_.`) that the gateway does not know. */
  readonly unknownOptions: readonly string[]
  /** Whether the client must be told of the version that it gets, or of options that it does not get. */
  readonly needsNegotiation: boolean
}

/** Reads a startup packet, or throws a refusal. */
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
    // As PostgreSQL does where no database is named.
    database: given.get('database') || role,
    parameters,
    unknownOptions,
    needsNegotiation: minor > 0 || unknownOptions.length > 0,
  }
}

/** A replication connection speaks another protocol after its login, and reads every database. */
function refuseReplication(value: string | undefined): void {
  if (value === undefined || ['false', 'off', 'no', '0'].includes(value.toLowerCase())) return
  const told = fatal('0A000', 'replication connections are not supported')
  throw refused(
    refusal('replication-refused', 'the client asked for a replication connection', told),
  )
}

function startupViolation(explanation: string, told: ServerError): Error {
  return refused(refusal('protocol-violation', explanation, told))
}

// The server's side of TLS on connections that began without it.

export interface TlsUpgrader {
  /** Resolves after the handshake; rejects with what went wrong in it. The socket is then closed. */
  upgrade(socket: Socket): Promise<TLSSocket>
}

/**
 * Creates an upgrader: TLS 1.2 or newer, and no other ALPN protocol than `postgresql` for clients that name one. It asks for
 * client certificates where an endpoint takes them.
 */
export function createTlsUpgrader(
  { certificate, privateKey }: GatewayCertificates,
  endpoints: EndpointChoice,
): TlsUpgrader {
  const waiting = new Map<string, Waiting>()
  // It never listens: injecting connections is the documented way to get a server's TLS on a socket that one has.
  const server = createServer({
    cert: certificate,
    key: privateKey,
    ...clientCertificates(endpoints, (ca) =>
      createSecureContext({ cert: certificate, key: privateKey, ca, minVersion: 'TLSv1.2' }),
    ),
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['postgresql'],
    // The gateway's own limit covers the whole login.
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
 * The settings of TLS that have clients asked for certificates. A handshake does not fail for the lack of one: which endpoint
 * it is for, and so whether it needs one, is the login's business, and so is an answer that says what is wrong.
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
    // Nobody is to resume, for another endpoint, what one endpoint's authorities have checked; nor does PostgreSQL let anybody.
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

/** What the server's events have in common with the socket that was injected. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
