/** The process of the gateway, or of a relay that passes bytes on and does nothing else: the load takes none of its turns. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { createCertificates } from '../gateway/certificates.js'
import type * as GatewayModule from '../gateway/index.js'
import { CREDENTIALS } from './benchmark.js'
import { answerOrder } from './process.js'

export interface GatewayOrder {
  readonly kind: 'gateway' | 'relay'
  /** The database of RDS whose tokens it takes. */
  readonly host: string
  readonly role: string
  readonly database: string
  /** The folder of PostgreSQL's Unix socket, and its port. */
  readonly upstream: { readonly host: string; readonly port: number }
}

/** Where it listens. */
export interface GatewayReady {
  readonly port: number
  readonly ca: string
}

answerOrder((order: GatewayOrder) =>
  order.kind === 'gateway' ? startOurs(order) : startRelay(order),
)

async function startOurs({ host, role, database, upstream }: GatewayOrder): Promise<GatewayReady> {
  const entry = 'pg-iam/gateway'
  const { startGateway } = (await import(entry)) as typeof GatewayModule
  const principals = [{ ...CREDENTIALS, roles: [role] }]
  const endpoints = [{ provider: 'rds' as const, hosts: [host], principals }]
  const { port, ca } = await startGateway({ endpoints, database, upstream })
  return { port, ca }
}

/** TLS on one side, PostgreSQL's Unix socket on the other, by Node's own streams. It lets every client in. */
async function startRelay({ host, upstream }: GatewayOrder): Promise<GatewayReady> {
  const { ca, certificate, privateKey } = await createCertificates([host])
  // It never listens: connections come to it once they have asked for TLS.
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
  return { port: (server.address() as AddressInfo).port, ca }
}

function passOn(from: Socket, to: Socket): void {
  from.on('error', () => to.destroy())
  from.on('close', () => to.destroy())
  from.pipe(to)
}
