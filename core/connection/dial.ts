/** Opens a TCP connection and turns it into verified TLS. */
import type { Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { PgIamError } from '../errors.js'
import type { Address } from '../login.js'
import { isIpAddress } from '../options/ip-address.js'
import { sslRequestPacket } from '../wire/startup-packet.js'
import { secureContext } from '../tls/secure-context.js'
import { identityError } from '../tls/server-identity.js'
import type { TlsNegotiation, VerifiedTls } from '../tls/verified-tls.js'

export interface DialSettings {
  address: Address
  tls: VerifiedTls
  negotiation: TlsNegotiation
  /** Whether TCP asks if the other side is still there, or after how many seconds. Default: it does not. */
  keepAlive?: boolean | number
  /** Gives up and closes the socket when it fires. */
  signal: AbortSignal
}

/**
 * Resolves with a TLS connection whose certificate was verified for `tls.servername`.
 *
 * Rejects with the network's or TLS's own error, or `ERR_TLS_UNVERIFIED` where the server has no TLS. No socket is left.
 */
export async function dial({
  address,
  tls,
  negotiation,
  keepAlive = false,
  signal,
}: DialSettings): Promise<TLSSocket> {
  signal.throwIfAborted()
  // In an ES module, to import `node:net` loads all that it exports.
  const tcp = process.getBuiltinModule('node:net').connect({
    host: address.host,
    port: address.port,
    noDelay: true,
    keepAlive: keepAlive !== false,
    ...(typeof keepAlive === 'number' ? { keepAliveInitialDelay: keepAlive * 1_000 } : {}),
  })
  const abandon = (): void => void tcp.destroy()
  signal.addEventListener('abort', abandon, { once: true })
  try {
    await eventOf(tcp, 'connect')
    if (negotiation === 'postgres') await requestTls(tcp, address)
    const secured = connectTls(tlsSettings(tcp, tls, negotiation))
    try {
      await eventOf(secured, 'secureConnect')
      assertVerified(secured, tls)
      if (negotiation === 'direct') assertProtocol(secured, address)
    } catch (error) {
      secured.destroy()
      throw error
    }
    return secured
  } catch (error) {
    tcp.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', abandon)
  }
}

function tlsSettings(
  socket: Socket,
  tls: VerifiedTls,
  negotiation: TlsNegotiation,
): ConnectionOptions {
  return {
    socket,
    rejectUnauthorized: true,
    secureContext: secureContext(tls),
    // The identity check uses `servername`, else `host`; only DNS names may be sent as SNI (RFC 6066, section 3), no IP addresses
    // and no connection names of Cloud SQL.
    host: tls.servername,
    checkServerIdentity: (_host, certificate) => identityError(tls.servername, certificate),
    ...(isDnsName(tls.servername) ? { servername: tls.servername } : {}),
    // PostgreSQL refuses direct TLS without this protocol name.
    ...(negotiation === 'direct' ? { ALPNProtocols: ['postgresql'] } : {}),
  }
}

function isDnsName(name: string): boolean {
  return !isIpAddress(name) && !name.includes(':')
}

/** Asks for TLS as PostgreSQL wants it. The answer is one byte; anything behind it was written by somebody in between. */
async function requestTls(socket: Socket, { host, port }: Address): Promise<void> {
  socket.write(sslRequestPacket())
  const answer = await eventOf<Buffer>(socket, 'data')
  socket.pause()
  if (answer.length === 1 && answer[0] === ACCEPTED) return
  const reason =
    answer[0] === REFUSED
      ? 'offers no TLS'
      : 'did not answer the request for TLS as PostgreSQL does'
  throw new PgIamError('ERR_TLS_UNVERIFIED', `the server at ${host}:${port} ${reason}`, {
    hint: 'A token is only sent over verified TLS: check the address, and that TLS is on at the server.',
  })
}

const ACCEPTED = 'S'.charCodeAt(0)
const REFUSED = 'N'.charCodeAt(0)

/** Node has done this already; a token is worth looking twice. */
function assertVerified(socket: TLSSocket, { servername }: VerifiedTls): void {
  if (socket.authorized) return
  throw new PgIamError(
    'ERR_TLS_UNVERIFIED',
    `the certificate of the server is not verified for ${servername}`,
    {
      cause: socket.authorizationError,
    },
  )
}

/** A server that takes direct TLS without naming the protocol may be any TLS server: libpq (17) refuses it, too. */
function assertProtocol(socket: TLSSocket, { host, port }: Address): void {
  if (socket.alpnProtocol === 'postgresql') return
  throw new PgIamError(
    'ERR_PROTOCOL',
    `the server at ${host}:${port} did not agree to the protocol "postgresql" in its TLS handshake`,
    { hint: "Set tls.negotiation to 'postgres' unless the server supports direct TLS." },
  )
}

/** Resolves with the next `event`; rejects when the socket fails or ends before it. */
function eventOf<T>(socket: Socket, event: 'connect' | 'secureConnect' | 'data'): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off(event, succeed).off('error', fail).off('close', ended)
    }
    const succeed = (value: T): void => {
      settle()
      resolve(value)
    }
    const fail = (error: Error): void => {
      settle()
      reject(error)
    }
    const ended = (): void => {
      fail(
        Object.assign(new Error('the server closed the connection during login'), {
          code: 'ECONNRESET',
        }),
      )
    }
    socket.on(event, succeed).on('error', fail).on('close', ended)
  })
}
