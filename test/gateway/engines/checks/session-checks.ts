/** Transactions and session state: changes are isolated until they are committed. */
import { Client } from 'pg'
import type { Gateway } from '../../../../gateway/index.js'
import { pgTransaction } from '../../../../adapters/pg.js'
import { pgSettings, withClient, withPool } from './gateway-clients.js'

export function describeSessions(gatewayOf: () => Gateway): void {
  it('loses no update of 40 transactions on a pool of 5', () =>
    withPool(gatewayOf(), 5, async (pool) => {
      await pool.query('create table counters (id int primary key, n int)')
      await pool.query('insert into counters values (1, 0)')
      const increment = (): Promise<void> =>
        pgTransaction(
          pool,
          async (client) => {
            const { rows } = await client.query('select n from counters where id = 1 for update')
            const { n } = rows[0] as { n: number }
            await client.query('update counters set n = $1 where id = 1', [n + 1])
          },
          // Aurora DSQL sessions are REPEATABLE READ, so all but one of the conflicting transactions must be retried.
          { maxAttempts: 100, baseDelayMs: 1, maxDelayMs: 50 },
        )
      await Promise.all(Array.from({ length: 40 }, increment))
      expect((await pool.query('select n from counters')).rows).toEqual([{ n: 40 }])
      await pool.query('drop table counters')
    }))

  it('keeps committed data and discards rolled-back data', () =>
    withClient(gatewayOf(), (one) =>
      withClient(gatewayOf(), async (two) => {
        await one.query('create table kept (v text)')
        await one.query('begin')
        await one.query(`insert into kept values ('rolled back')`)
        await one.query('rollback')
        await one.query('begin')
        await one.query(`insert into kept values ('committed')`)
        await one.query('commit')
        expect((await two.query('select v from kept')).rows).toEqual([{ v: 'committed' }])
        await two.query('drop table kept')
      }),
    ))

  it('refuses statements of a failed transaction until it is rolled back', () =>
    withClient(gatewayOf(), async (client) => {
      await client.query('begin')
      await expect(client.query('select 1/0')).rejects.toMatchObject({ code: '22012' })
      await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' })
      await client.query('rollback')
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    }))

  it('rolls back to a savepoint', () =>
    withClient(gatewayOf(), async (client) => {
      await client.query('create table saved (v int)')
      await client.query('begin')
      await client.query('insert into saved values (1)')
      await client.query('savepoint s')
      await expect(client.query('insert into saved values (1/0)')).rejects.toThrow()
      await client.query('rollback to savepoint s')
      await client.query('insert into saved values (2)')
      await client.query('commit')
      expect((await client.query('select v from saved order by v')).rows).toEqual([
        { v: 1 },
        { v: 2 },
      ])
      await client.query('drop table saved')
    }))

  it('isolates the settings of sessions', () =>
    withClient(gatewayOf(), (one) =>
      withClient(gatewayOf(), async (two) => {
        const read = `select current_setting('work_mem') as m, nullif(current_setting('app.tenant', true), '') as t`
        const before = (await two.query(read)).rows
        await one.query(`set work_mem = '7654kB'`)
        await one.query(`set app.tenant = 'seven'`)
        expect((await two.query(read)).rows).toEqual(before)
        expect((await one.query(read)).rows).toEqual([{ m: '7654kB', t: 'seven' }])
        await withClient(gatewayOf(), async (three) =>
          expect((await three.query(read)).rows).toEqual(before),
        )
      }),
    ))

  it('rolls back the transaction of a client that disconnects', async () => {
    const gateway = gatewayOf()
    await withClient(gateway, (client) => client.query('create table vanished (v int)'))
    const vanishing = new Client(pgSettings(gateway))
    await vanishing.connect()
    vanishing.on('error', () => {})
    await vanishing.query('begin')
    await vanishing.query('insert into vanished values (1)')
    const { stream } = (vanishing as unknown as { connection: { stream: import('net').Socket } })
      .connection
    const gone = new Promise((resolve) => vanishing.once('end', resolve))
    stream.destroy()
    await gone
    await withClient(gateway, async (client) => {
      // A lock of the lost transaction would block this one.
      await client.query('alter table vanished add column w int')
      expect((await client.query('select * from vanished')).rows).toEqual([])
      await client.query('drop table vanished')
    })
  })
}
