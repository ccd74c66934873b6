/** The packets before the login: SSLRequest, GSSENCRequest, CancelRequest, and the startup packet. */
import type { Duplex } from 'node:stream'
import type { ServerError } from '../../wire/error-response.js'
import { PacketReader } from '../../wire/framing.js'
import {
  CANCEL_REQUEST,
  GSSENC_REQUEST,
  PROTOCOL_3,
  SSL_REQUEST,
  startupPacket,
  startupParameters,
} from '../../wire/startup.js'
import { fatal, refusal, refused } from '../auth/refusal.js'

/** What a client starts its connection with: TLS, or a packet. */
type Opening = 'direct-tls' | 'tls' | Buffer

/**
 * Reads the first packets of a client up to a request for TLS, which the caller starts, or up to a startup packet or a cancel request.
 * Declines encryption with GSSAPI, and TLS if the server has none.
 *
 * Rejects with a refusal (see `refusalOf`), or with the error of a lost connection.
 */
export async function readOpening(stream: Duplex, hasTls: boolean): Promise<Opening> {
  const reader = new PacketReader(stream)
  const first = await reader.read(1)
  if (first[0] === TLS_HANDSHAKE) {
    if (!hasTls) throw violation('TLS, which this server does not have')
    stream.unshift(first)
    return 'direct-tls'
  }
  const declined = new Set<number>()
  for (let packet = await readPacket(reader, first); ; packet = await readPacket(reader)) {
    const code = packet.readInt32BE(4)
    const isDeclined = code === GSSENC_REQUEST || (code === SSL_REQUEST && !hasTls)
    if (isDeclined) {
      if (declined.has(code)) throw violation('a second request for encryption')
      declined.add(code)
      stream.write('N')
    } else if (code === SSL_REQUEST) {
      // Unencrypted data after the request may have been injected by a man in the middle (CVE-2021-23222).
      if (reader.buffered > 0) throw violation('unencrypted data after the SSLRequest')
      stream.write('S')
      return 'tls'
    } else {
      return packet
    }
  }
}

/** The first byte of a TLS handshake record. A startup packet, with at most 10,000 bytes, begins with 0. */
const TLS_HANDSHAKE = 0x16

/** Reads the startup packet or the cancel request of a client within TLS. */
export async function readPacketWithinTls(stream: Duplex): Promise<Buffer> {
  const packet = await readPacket(new PacketReader(stream))
  const code = packet.readInt32BE(4)
  if (code === SSL_REQUEST || code === GSSENC_REQUEST)
    throw violation('an encryption request within TLS')
  return packet
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

/** The client gets no error, because it is probably not a PostgreSQL client. */
export function violation(explanation: string): Error {
  return refused(refusal('protocol-violation', explanation))
}

/** The key of a cancel request, or `undefined` for another packet. */
export function cancelKeyIn(
  packet: Buffer,
): { readonly processId: number; readonly secretKey: number } | undefined {
  if (packet.readInt32BE(4) !== CANCEL_REQUEST) return undefined
  // Keys of another length belong to a newer protocol version, which the server never negotiates.
  if (packet.length !== 16) throw violation('a cancel request of invalid length')
  return { processId: packet.readInt32BE(8), secretKey: packet.readInt32BE(12) }
}

// The startup packet.

/** Writes the startup packet of a client again, for another server: `state.startup`. */
export function startupPacketOf({
  user,
  database,
  parameters,
}: {
  readonly user: string
  readonly database: string
  readonly parameters: ReadonlyMap<string, string>
}): Buffer {
  return startupPacket(new Map([['user', user], ['database', database], ...parameters]))
}

export interface StartupRequest {
  readonly role: string
  readonly database: string
  /** The version that the client requests, such as `3.0`. */
  readonly protocolVersion: string
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
    protocolVersion: `${major}.${minor}`,
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
