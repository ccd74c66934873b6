import type { Pool, QueryConfig } from 'pg'
import { createPool, pgTransaction } from '../../adapters/pg.js'
import { drizzleClient, drizzleTransaction } from '../../adapters/drizzle.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { launchPostgres, type PostgresServer } from '../support/launch-postgres.js'
import { client } from '../clients/pg.js'
import { describeResilience } from './describe-resilience.js'
import { BLOCKED, type Rig, startRig } from './rig.js'

describeResilience(client)

describe('a connection with a running statement that the application no longer awaits', () => {
  let postgres: PostgresServer
  let rig: Rig

  beforeAll(async () => {
    postgres = await launchPostgres({ roles: ['admin', 'app'] })
    rig = await startRig(postgres)
  })
  afterAll(async () => {
    await rig?.close()
    await postgres?.close()
  })

  const CONFIG = { max: 1, query_timeout: 100 }
  const expectPlaceBack = async (pool: Pool, stuck: () => Promise<unknown>): Promise<void> => {
    const unlock = await rig.lock()
    expect(await rejectionOf(stuck())).toBeInstanceOf(Error)
    // The pool has one slot, so the next query would wait for the blocked one.
    const query = { text: 'SELECT 1 AS one', query_timeout: 120_000 } as QueryConfig
    expect((await pool.query(query)).rows).toEqual([{ one: 1 }])
    await unlock()
    await pool.end()
  }

  it('is not returned to the pool by pgTransaction', async () => {
    const pool = createPool(rig.login(), CONFIG)
    await expectPlaceBack(pool, () => pgTransaction(pool, (lent) => lent.query(BLOCKED)))
  })

  it('is not returned to the pool by drizzleTransaction', async () => {
    const db = drizzleClient(rig.login(), { connection: CONFIG })
    await expectPlaceBack(db.$client, () =>
      drizzleTransaction(db, (transaction) => transaction.execute(BLOCKED)),
    )
  })
})
