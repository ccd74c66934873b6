import { startGateway, type Gateway } from '../../../../gateway/index.js'
import { describeClientChecks } from '../client-checks.js'

describe('a gateway that starts PostgreSQL', () => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await startGateway({ sql: 'postgres', engine: 'postgres' })
  })
  afterAll(() => gateway?.close())

  describeClientChecks(() => gateway)
})
