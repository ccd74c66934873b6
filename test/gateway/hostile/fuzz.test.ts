import type { Gateway } from '../../../gateway/index.js'
import { describeFuzz } from '../fuzz-checks.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'

describe('a gateway with PostgreSQL', () => {
  const postgres = usePostgres()
  const log = recordLog()
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await postgres.start({ logger: log.logger })
  })
  afterEach(() => {
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([])
  })

  describeFuzz(() => gateway)
})
