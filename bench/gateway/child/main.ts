/** The process of the gateway: its processor time is its own, and the load takes none of its turns. */
import { once } from 'node:events'
import { startGateway } from '../../../gateway/index.js'
import { CREDENTIALS } from '../../frame/surroundings.js'
import type { GatewayCpu, GatewayOrder, GatewayReady, GatewayRequest } from '../messages.js'

// Ctrl-C goes to all processes of the terminal; this one ends when it is told to, or with the benchmark.
process.on('SIGINT', () => {})
process.once('disconnect', () => process.exit(1))

const [order] = (await once(process, 'message')) as [GatewayOrder]
const { host, role, database, upstream } = order
const gateway = await startGateway({
  endpoints: [
    {
      provider: 'rds',
      hosts: [host],
      principals: [{ ...CREDENTIALS, roles: [role] }],
    },
  ],
  database,
  upstream,
})
process.on('message', (request: GatewayRequest) => {
  if (request === 'stop') void gateway.close().then(() => process.exit())
  else process.send!(cpuMicroseconds())
})
const ready: GatewayReady = { port: gateway.port, ca: gateway.ca }
process.send!(ready)

function cpuMicroseconds(): GatewayCpu {
  const { user, system } = process.cpuUsage()
  return user + system
}
