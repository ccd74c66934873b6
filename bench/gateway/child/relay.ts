/**
 * A process that passes bytes on and does nothing else: TLS on one side, PostgreSQL's Unix socket on the other, by Node's own streams.
 * It lets everybody in. No gateway in Node can be expected to be faster.
 */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { createCertificates } from '../../../gateway/certificates/gateway-certificates.js'
import type { GatewayOrder, GatewayReady, GatewayRequest } from '../messages.js'

process.on('SIGINT', () => {})
process.once('disconnect', () => process.exit(1))

const [{ host, upstream }] = (await once(process, 'message')) as [GatewayOrder]
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
server.listen(0, '127.0.0.1', () => {
  process.send!({ port: (server.address() as AddressInfo).port, ca } satisfies GatewayReady)
})
process.on('message', (request: GatewayRequest) => {
  const { user, system } = process.cpuUsage()
  if (request === 'stop') process.exit()
  else process.send!(user + system)
})

function passOn(from: Socket, to: Socket): void {
  from.on('data', (chunk) => {
    if (!to.write(chunk)) from.pause()
  })
  to.on('drain', () => from.resume())
  from.on('error', () => {})
  from.on('close', () => to.destroy())
}
