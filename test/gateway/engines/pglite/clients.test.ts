import { startGateway, type Gateway } from '../../../../gateway/index.js'
import { describeClientChecks } from '../client-checks.js'

describe('a gateway with PGlite', () => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await startGateway({ sql: 'postgres', engine: 'pglite' })
  })
  afterAll(() => gateway?.close())

  describeClientChecks(() => gateway)
})
