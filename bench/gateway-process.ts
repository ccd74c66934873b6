/** The process of the gateway, or of a relay that only forwards bytes. It is separate from the process that generates the load. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { createCertificates } from '../gateway/certificates.js'
import type * as GatewayModule from '../gateway/index.js'
import { CREDENTIALS } from './benchmark.js'
import { answerOrder } from './process.js'

export interface GatewayOrder {
  readonly kind: 'gateway' | 'relay' | 'relay to TLS'
  /** The RDS database whose tokens the gateway accepts. */
  readonly host: string
  readonly role: string
  readonly database: string
  /** The directory of PostgreSQL's Unix socket or, for a relay to TLS, its address, and its port. */
  readonly upstream: { readonly host: string; readonly port: number }
  /** The authority of PostgreSQL, for a relay to TLS. */
  readonly ca?: string
}

/** The address that it listens on. */
export interface GatewayReady {
  readonly port: number
  readonly ca: string
  readonly pid: number
}

const KINDS: Readonly<Record<GatewayOrder['kind'], typeof startOurs>> = {
  gateway: startOurs,
  relay: startRelay,
  'relay to TLS': startRelayToTls,
}

answerOrder((order: GatewayOrder) => KINDS[order.kind](order))

async function startOurs({ host, role, database, upstream }: GatewayOrder): Promise<GatewayReady> {
  const entry = 'pg-iam/gateway'
  const { startGateway } = (await import(entry)) as typeof GatewayModule
  const principals = [{ ...CREDENTIALS, roles: [role] }]
  const endpoints = [{ provider: 'rds' as const, hosts: [host], principals }]
  const { port, ca } = await startGateway({ endpoints, database, upstream, webSocket: true })
  return { port, ca, pid: process.pid }
}

/** Connects TLS with PostgreSQL's Unix socket, with Node's streams. It accepts every client. */
async function startRelay({ host, upstream }: GatewayOrder): Promise<GatewayReady> {
  const { ca, certificate, privateKey } = await createCertificates([host])
  // The TLS server does not listen. It gets connections after their SSLRequest.
  const tls = createTlsServer({ cert: certificate, key: privateKey, ALPNProtocols: ['postgresql'] })
  tls.on('secureConnection', (client) => {
    const session = connect({ path: `${upstream.host}/.s.PGSQL.${upstream.port}` })
    passOn(client, session)
    passOn(session, client)
  })
  const server = createServer({ noDelay: true }, (plain) => {
    plain.on('error', () => {})
    plain.once('data', () => {
      plain.write('S')
      tls.emit('connection', plain)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, ca, pid: process.pid }
}

/** Connects plain connections with PostgreSQL's TLS. */
async function startRelayToTls({ host, upstream, ca }: GatewayOrder): Promise<GatewayReady> {
  const server = createServer({ noDelay: true }, (client) => {
    const plain = connect({ ...upstream, noDelay: true })
    client.pause().on('error', () => plain.destroy())
    plain.on('error', () => client.destroy())
    // An SSLRequest, and its answer "S".
    plain.write(Buffer.from('0000000804d2162f', 'hex'))
    plain.once('data', () => {
      const session = connectTls({ socket: plain, servername: host, ca, ecdhCurve: 'prime256v1' })
      passOn(client, session)
      passOn(session, client)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, ca: ca ?? '', pid: process.pid }
}

function passOn(from: Socket, to: Socket): void {
  from.on('error', () => to.destroy())
  from.on('close', () => to.destroy())
  from.pipe(to)
}
