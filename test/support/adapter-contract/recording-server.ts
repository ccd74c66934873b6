/** A server that pretends to be PostgreSQL, takes any password, and keeps every byte that it is sent. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { GatewayCertificates } from '../../../gateway/certificates.js'

export interface RecordingServer {
  readonly port: number
  /** Everything that arrived, decrypted where it came over TLS. */
  received: () => string
  /** Connections accepted since the start. */
  accepted: () => number
  close: () => Promise<void>
}

/** @param certificates what it does TLS with; without them it says that it has none */
export async function startRecordingServer(
  certificates?: Pick<GatewayCertificates, 'certificate' | 'privateKey'>,
): Promise<RecordingServer> {
  const chunks: Buffer[] = []
  const open = new Set<Socket>()
  let accepted = 0
  const server = createServer({ noDelay: true }, (socket) => {
    accepted++
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    socket.once('data', (chunk: Buffer) => {
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
    async close() {
      for (const socket of open) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** How a client asks for TLS. */
export const SSL_REQUEST: Buffer = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
const CLEARTEXT_REQUEST = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])

function secure(
  socket: Socket,
  { certificate, privateKey }: Pick<GatewayCertificates, 'certificate' | 'privateKey'>,
): Socket {
  const secured = new TLSSocket(socket, { isServer: true, cert: certificate, key: privateKey })
  return secured.on('error', () => {})
}

/** Asks whoever writes a startup packet for a password, and goes away once something came that can be one. */
function answer(socket: Socket, chunks: Buffer[]): void {
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    if (chunk[0] === 'p'.charCodeAt(0)) socket.destroy()
    else socket.write(CLEARTEXT_REQUEST)
  })
}
