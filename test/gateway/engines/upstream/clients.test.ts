import { startGateway, type Gateway } from '../../../../gateway/index.js'
import { launchPostgres, type PostgresServer } from '../../../support/postgres/launch-postgres.js'
import { describeClientChecks } from '../client-checks.js'

describe('clients of a gateway in front of a real PostgreSQL', () => {
  let server: PostgresServer
  let gateway: Gateway

  beforeAll(async () => {
    server = await launchPostgres({ roles: ['admin', 'app'] })
    gateway = await startGateway({ upstream: { host: server.socketDirectory, port: server.port } })
  })
  afterAll(async () => {
    await gateway?.close()
    await server?.close()
  })

  describeClientChecks(() => gateway)
})
