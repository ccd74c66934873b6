import { Client } from 'pg'
import { startGateway, type Gateway } from '../../../../gateway/index.js'
import { pgSettings, withClient } from '../checks/gateway-clients.js'
import { describeClientChecks } from '../client-checks.js'

describe('a gateway with PGlite', () => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await startGateway({ sql: 'postgres', engine: 'pglite' })
  })
  afterAll(() => gateway?.close())

  describeClientChecks(() => gateway)

  it('gives each session its own process ID, although one backend serves them all', async () => {
    const killed = new Client(pgSettings(gateway)) as Client & { processID: number }
    killed.on('error', () => {})
    await killed.connect()
    await withClient(gateway, async (other) => {
      const { rows } = await other.query<{ pid: number }>('select pg_backend_pid() as pid')
      const { processID } = other as Client & { processID: number }
      expect(new Set([killed.processID, processID, rows[0]!.pid]).size).toBe(3)
      expect(gateway.faults.killSession(killed.processID)).toBe(true)
      await other.query('select 1')
    })
  })
})
