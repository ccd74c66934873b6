import { startGateway, type Gateway } from '../../../../gateway/index.js'
import { describeClientChecks } from '../client-checks.js'

describe('clients of a gateway in front of PGlite', () => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await startGateway({ engine: 'pglite' })
  })
  afterAll(() => gateway?.close())

  describeClientChecks(() => gateway)
})
