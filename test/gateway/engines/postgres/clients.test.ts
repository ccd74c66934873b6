import { startGateway, type Gateway } from '../../../../gateway/index.js'
import { describeClientChecks } from '../client-checks.js'

describe('clients of a gateway that starts its PostgreSQL', () => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await startGateway({ engine: 'postgres' })
  })
  afterAll(() => gateway?.close())

  describeClientChecks(() => gateway)
})
