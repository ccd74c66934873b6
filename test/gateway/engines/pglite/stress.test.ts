import * as fc from 'fast-check'
import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import { bind, connect, execute, parse, query, SYNC } from './protocol-client.js'

const ACCOUNTS = 20
const CLIENTS = 12

/** A transfer, and the point at which the client disconnects, if it does. */
const transfer = fc.record({
  from: fc.integer({ min: 1, max: ACCOUNTS }),
  to: fc.integer({ min: 1, max: ACCOUNTS }),
  amount: fc.nat(50),
  isRolledBack: fc.boolean(),
  vanishesAt: fc.option(fc.nat(3), { freq: 3 }),
})

interface Transfer {
  from: number
  to: number
  amount: number
  isRolledBack: boolean
  vanishesAt: number | null
}

describe('concurrent transfers on PGlite', () => {
  let engine: Engine

  beforeAll(async () => {
    engine = await startPgliteEngine({ roles: ['app'], database: 'postgres' })
  })
  afterAll(() => engine?.close())

  it('keep the total amount if clients disconnect during a transfer', async () => {
    const teller = await connect(engine)
    await teller.query(
      `create table accounts (id int primary key, v int); insert into accounts select i, 100 from generate_series(1, ${ACCOUNTS}) i`,
    )
    const work = fc.array(fc.array(transfer, { maxLength: 15 }), {
      minLength: CLIENTS,
      maxLength: CLIENTS,
    })
    await fc.assert(
      fc.asyncProperty(work, async (shares) => {
        await Promise.all(shares.map((transfers) => transferAll(transfers)))
        expect(await teller.value('select sum(v) from accounts')).toBe(String(ACCOUNTS * 100))
      }),
      { numRuns: 6 },
    )
    expect(await teller.value('select count(*) from pg_prepared_statements')).toBe('0')
    await teller.leave()
  })

  async function transferAll(transfers: Transfer[]): Promise<void> {
    let client = await connect(engine)
    for (const { from, to, amount, isRolledBack, vanishesAt } of transfers) {
      const take = 'update accounts set v = v - $1::int where id = $2::int'
      const steps = [
        [query('begin')],
        [parse('take', take), bind('take', [`${amount}`, `${from}`]), execute(), SYNC],
        [query(`deallocate all; update accounts set v = v + ${amount} where id = ${to}`)],
        [query(isRolledBack ? 'rollback' : 'commit')],
      ]
      for (const [index, step] of steps.entries()) {
        client.send(...step)
        if (index === vanishesAt) {
          client.session.destroy()
          client = await connect(engine)
          break
        }
        expect((await client.answer()).errors).toEqual([])
      }
    }
    await client.leave()
  }
})
