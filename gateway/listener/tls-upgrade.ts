/** The server's side of TLS on connections that began without it. */
import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  createSecureContext,
  createServer,
  type SecureContext,
  type TlsOptions,
  type TLSSocket,
} from 'node:tls'
import type { GatewayCertificates } from '../certificates/gateway-certificates.js'
import { connectionClosed } from '../wire/packet-reader.js'
import type { EndpointChoice } from './endpoint-choice.js'

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
