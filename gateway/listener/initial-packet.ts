/** The packets before a login: requests for TLS, for GSSAPI encryption, and to cancel a query. */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST } from '../../core/wire/startup-packet.js'
import { refusal } from '../auth/refusal.js'
import { createPacketReader, type PacketReader } from '../wire/packet-reader.js'
import { refused } from './login-refused.js'
import type { TlsUpgrader } from './tls-upgrade.js'

/** How a connection begins: with a startup packet, over TLS or without it, or with a request to cancel a query. */
export type Opening =
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
