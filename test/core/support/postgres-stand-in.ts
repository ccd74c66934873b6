/** A PostgreSQL server that is scripted by a test, and counts its open connections. */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { auroraDsql, type AuroraDsqlOptions, type Login } from '../../../core/index.js'
import { AUTHENTICATION_OK, CLEARTEXT_REQUEST, GREETING } from './backend-messages.js'
import { createByteReader } from './byte-reader.js'
import { createAuthority, type Authority, type KeyPair } from './certificates.js'
import { CREDENTIALS, HOST } from './dsql-options.js'

/** The server's behaviour for one connection. It may reject when the client disconnects, which does not fail the test. */
export type Behaviour = (socket: Socket, keys: KeyPair) => Promise<void>

export interface StandIn {
  readonly port: number
  readonly authority: Authority
  /** Connections accepted since the start. */
  accepted(): number
  /** Resolves once no connection is open. */
  idle(): Promise<void>
  /** A login whose connections go to this server. */
  login(options?: AuroraDsqlOptions): Login
  close(): Promise<void>
}

/** Starts a server on loopback, with a certificate for `HOST` signed by its own CA unless `keys` has another. */
export async function startStandIn(behaviour: Behaviour, keys?: KeyPair): Promise<StandIn> {
  const authority = await createAuthority()
  const pair = keys ?? (await authority.issue(HOST))
  const open = new Set<Socket>()
  const waiting: (() => void)[] = []
  let accepted = 0
  const server = createServer({ noDelay: true }, (socket) => {
    accepted++
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      open.delete(socket)
      if (open.size === 0) for (const resolve of waiting.splice(0)) resolve()
    })
    behaviour(socket, pair).catch(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    authority,
    accepted: () => accepted,
    idle: () =>
      open.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
    login: (options) =>
      auroraDsql({
        host: HOST,
        user: 'app',
        database: 'shop',
        credentials: CREDENTIALS,
        connectTo: { host: '127.0.0.1', port },
        ...options,
        tls: { ca: authority.ca, ...options?.tls },
      }),
    async close() {
      for (const socket of open) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Does the TLS handshake, after an SSLRequest or directly. */
export async function acceptTls(socket: Socket, keys: KeyPair): Promise<TLSSocket> {
  const reader = createByteReader(socket)
  const first = await reader.read(4)
  if (first[0] === TLS_RECORD) {
    reader.release()
    socket.unshift(first)
    return handshake(socket, keys)
  }
  await reader.read(first.readInt32BE(0) - first.length)
  reader.release()
  socket.write('S')
  return handshake(socket, keys)
}

/** The first byte of a TLS handshake record. */
const TLS_RECORD = 0x16

/** Does the handshake immediately, as for direct TLS. */
export async function handshake(socket: Socket, keys: KeyPair): Promise<TLSSocket> {
  const secured = new TLSSocket(socket, { ...keys, isServer: true, ALPNProtocols: ['postgresql'] })
  secured.on('error', () => {})
  await once(secured, 'secure')
  return secured
}

/** The messages that a client sent during its login. */
export interface LoginTranscript {
  socket: TLSSocket
  startup: Buffer
  password: string
}

/** TLS, startup packet and password, up to the server's decision. */
export async function receiveLogin(socket: Socket, keys: KeyPair): Promise<LoginTranscript> {
  const secured = await acceptTls(socket, keys)
  const reader = createByteReader(secured)
  const startup = await reader.packet()
  secured.write(CLEARTEXT_REQUEST)
  const password = (await reader.message()).toString('utf8', 5).replace(/\0$/, '')
  reader.release()
  return { socket: secured, startup, password }
}

/** A complete login that the server accepts. */
export async function acceptLogin(socket: Socket, keys: KeyPair): Promise<LoginTranscript> {
  const transcript = await receiveLogin(socket, keys)
  transcript.socket.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
  return transcript
}
