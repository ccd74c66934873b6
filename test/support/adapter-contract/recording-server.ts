/** A server that emulates a PostgreSQL login, accepts any password, and records all received bytes. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { GatewayCertificates } from '../../../gateway/certificates.js'

export interface RecordingServer {
  readonly port: number
  /** All received bytes, decrypted if they came over TLS, without the ClientHello of direct TLS. */
  received: () => string
  /** The number of connections that began with a ClientHello. */
  direct: () => number
  /** The number of accepted connections. */
  accepted: () => number
  close: () => Promise<void>
}

/** @param certificates for TLS; without them it declines TLS */
export async function startRecordingServer(
  certificates?: Pick<GatewayCertificates, 'certificate' | 'privateKey'>,
): Promise<RecordingServer> {
  const chunks: Buffer[] = []
  const open = new Set<Socket>()
  let accepted = 0
  let direct = 0
  const server = createServer({ noDelay: true }, (socket) => {
    accepted++
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    socket.once('data', (chunk: Buffer) => {
      if (chunk[0] === TLS_RECORD) {
        direct++
        if (certificates === undefined) {
          socket.write(CLEARTEXT_REQUEST)
          return answer(socket, chunks)
        }
        socket.pause().unshift(chunk)
        return answer(secure(socket, certificates), chunks)
      }
      chunks.push(chunk)
      if (!chunk.equals(SSL_REQUEST)) {
        socket.write(CLEARTEXT_REQUEST)
        answer(socket, chunks)
        return
      }
      socket.write(certificates === undefined ? 'N' : 'S')
      answer(certificates === undefined ? socket : secure(socket, certificates), chunks)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    received: () => Buffer.concat(chunks).toString('latin1'),
    accepted: () => accepted,
    direct: () => direct,
    async close() {
      for (const socket of open) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The first byte of a ClientHello. */
const TLS_RECORD = 0x16

/** The SSLRequest of a client. */
export const SSL_REQUEST: Buffer = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
const CLEARTEXT_REQUEST = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])

function secure(
  socket: Socket,
  { certificate, privateKey }: Pick<GatewayCertificates, 'certificate' | 'privateKey'>,
): Socket {
  const secured = new TLSSocket(socket, {
    isServer: true,
    cert: certificate,
    key: privateKey,
    ALPNProtocols: ['postgresql'],
  })
  return secured.on('error', () => {})
}

/** Requests a password after the startup packet, and disconnects after a possible password was received. */
function answer(socket: Socket, chunks: Buffer[]): void {
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    if (chunk[0] === 'p'.charCodeAt(0)) socket.destroy()
    else socket.write(CLEARTEXT_REQUEST)
  })
}
