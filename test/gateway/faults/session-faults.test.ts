import { once } from 'node:events'
import { Client } from 'pg'
import type { Gateway } from '../../../gateway/index.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { launchPostgres } from '../../support/launch-postgres.js'
import { pgSettings, withClient } from '../engines/checks/gateway-clients.js'
import { startRig, BLOCKED } from '../../resilience/rig.js'
import { until } from '../../resilience/until.js'
import { createPool } from '../../../adapters/pg.js'
import { describeOnEachEngine, itemsIn } from './fault-gateways.js'

describeOnEachEngine('faults of sessions', (gateway) => {
  it('show the sessions that are open', async () => {
    const settings = { ...pgSettings(gateway(), 'admin'), application_name: 'shown' }
    const client = new Client(settings)
    await client.connect()
    const { processID } = client as Client & { processID: number }
    expect(gateway().faults.sessions()).toContainEqual({
      processId: processID,
      role: 'admin',
      database: 'postgres',
      applicationName: 'shown',
      openedAt: expect.any(Number),
    })
    await client.end()
    await until('the session to be gone', () =>
      gateway()
        .faults.sessions()
        .every(({ processId }) => processId !== processID),
    )
  })

  it('end one session as an administrator would, and no other', async () => {
    await withClient(gateway(), async (other) => {
      const client = await connected(gateway())
      await client.query('BEGIN')
      await client.query('INSERT INTO item VALUES (1)')
      const ended = once(client, 'error')
      expect(gateway().faults.killSession(client.processID)).toBe(true)
      expect((await ended)[0]).toMatchObject({
        code: '57P01',
        severity: 'FATAL',
        message: 'terminating connection due to administrator command',
      })
      expect((await other.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    })
    expect(await itemsIn(gateway())).toEqual([])
    expect(gateway().faults.killSession(1)).toBe(false)
  })

  it('end every session at an age, those that are open and those to come', async () => {
    const open = await connected(gateway())
    const ended = once(open, 'error')
    gateway().faults.endSessionsAt(1)
    const MAXIMUM = { code: '57P01', message: expect.stringContaining('maximum duration') }
    expect((await ended)[0]).toMatchObject(MAXIMUM)
    const late = new Client(pgSettings(gateway()))
    const errors: unknown[] = []
    late.on('error', (error) => errors.push(error))
    const lateEnded = new Promise((resolve) => late.once('end', resolve))
    // It may be over before pg has heard of its beginning.
    await late.connect().catch((error: unknown) => errors.push(error))
    await lateEnded
    expect(errors).toContainEqual(expect.objectContaining(MAXIMUM))
    gateway().faults.endSessionsAt(undefined)
    await withClient(gateway(), (client) => client.query('SELECT 1'))
  })
})

it('a session that is killed in a statement does not go on with it behind the scenes', async () => {
  const postgres = await launchPostgres({ roles: ['admin', 'app'] })
  const rig = await startRig(postgres)
  const pool = createPool(rig.login())
  const unlock = await rig.lock()
  const query = pool.query(`INSERT INTO note SELECT 1 FROM (${BLOCKED}) AS blocked`)
  query.catch(() => {})
  await rig.blocked()
  for (const { processId } of rig.gateway.faults.sessions())
    rig.gateway.faults.killSession(processId)
  expect(await rejectionOf(query)).toMatchObject({ code: '57P01' })
  await until('the backend to be gone', async () => {
    const backends = await rig.admin(`SELECT 1 FROM pg_stat_activity WHERE usename = 'app'`)
    return backends.length === 0
  })
  await unlock()
  expect(await rig.notes()).toEqual([])
  await pool.end()
  await rig.close()
  await postgres.close()
})

async function connected(gateway: Gateway): Promise<Client & { processID: number }> {
  const client = new Client(pgSettings(gateway)) as Client & { processID: number }
  client.on('error', () => {})
  await client.connect()
  return client
}
