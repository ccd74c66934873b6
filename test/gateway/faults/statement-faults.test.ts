import type { Client } from 'pg'
import { isOccConflict } from '../../../core/index.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { withClient, withPostgresJs } from '../engines/checks/gateway-clients.js'
import { describeOnEachEngine, itemsIn } from './fault-gateways.js'

/** Each way in which pg sends a statement: simple, extended, and prepared under a name. */
const PROTOCOLS: readonly [
  name: string,
  run: (client: Client, text: string) => Promise<unknown>,
][] = [
  ['simple', (client, text) => client.query(text)],
  ['extended', (client, text) => client.query({ text, queryMode: 'extended' } as never)],
  ['prepared', (client, text) => client.query({ name: text, text })],
]

describeOnEachEngine('faults at statements and commits', (gateway) => {
  describe.each(PROTOCOLS)('by the %s protocol', (_name, run) => {
    const begin = async (client: Client): Promise<void> => {
      await run(client, 'BEGIN')
      await run(client, 'INSERT INTO item VALUES (1)')
    }

    it('raise a conflict at COMMIT, which rolls back, and leave the session as it was', async () => {
      await withClient(gateway(), async (client) => {
        gateway().faults.raiseConflicts()
        await begin(client)
        const error = await rejectionOf(run(client, 'COMMIT'))
        expect(error).toMatchObject({
          code: '40001',
          severity: 'ERROR',
          message: 'change conflicts with another transaction (OC000)',
        })
        expect(isOccConflict(error)).toBe(true)
        // Outside of a transaction, and in good order.
        expect(await run(client, 'SELECT 1 AS one')).toMatchObject({ rows: [{ one: 1 }] })
        await begin(client)
        await run(client, 'COMMIT')
      })
      expect(await itemsIn(gateway())).toEqual([1])
    })

    it('come again on the same session, once those before them are over', async () => {
      await withClient(gateway(), async (client) => {
        for (const at of ['statement', 'commit', 'statement', 'commit'] as const) {
          await run(client, 'BEGIN')
          gateway().faults.raiseConflicts({ at })
          const error = await rejectionOf(run(client, at === 'commit' ? 'COMMIT' : 'SELECT 1'))
          expect(error).toMatchObject({ code: '40001' })
          if (at === 'statement') await run(client, 'ROLLBACK')
          // Nothing is armed any more.
          expect(await run(client, 'SELECT 2 AS two')).toMatchObject({ rows: [{ two: 2 }] })
        }
      })
    })

    it('raise a conflict at a statement, which fails its transaction', async () => {
      await withClient(gateway(), async (client) => {
        await begin(client)
        gateway().faults.raiseConflicts({ at: 'statement', code: 'OC001' })
        expect(await rejectionOf(run(client, 'INSERT INTO item VALUES (2)'))).toMatchObject({
          code: '40001',
          message: 'schema has been updated by another transaction, please retry: (OC001)',
        })
        expect(await rejectionOf(run(client, 'SELECT 1'))).toMatchObject({ code: '25P02' })
        await run(client, 'ROLLBACK')
        expect(await run(client, 'SELECT 1 AS one')).toMatchObject({ rows: [{ one: 1 }] })
      })
      expect(await itemsIn(gateway())).toEqual([])
    })

    it('cut the connection when a statement has come, before it runs', async () => {
      await withClient(gateway(), async (client) => {
        client.on('error', () => {})
        gateway().faults.cut({ at: 'statement' })
        const error = await rejectionOf(run(client, 'INSERT INTO item VALUES (1)'))
        expect((error as Error).message).toBe('Connection terminated unexpectedly')
      })
      expect(await itemsIn(gateway())).toEqual([])
    })

    it.each([
      ['before', []],
      ['after', [1]],
    ] as const)('cut the connection at COMMIT, %s it took effect', async (when, left) => {
      await withClient(gateway(), async (client) => {
        client.on('error', () => {})
        gateway().faults.cut({ at: `${when}-commit` })
        await begin(client)
        const error = await rejectionOf(run(client, 'COMMIT'))
        expect((error as Error).message).toBe('Connection terminated unexpectedly')
      })
      expect(await itemsIn(gateway())).toEqual(left)
    })
  })

  it('leave BEGIN, ROLLBACK, SAVEPOINT, SET and SHOW alone', async () => {
    await withClient(gateway(), async (client) => {
      client.on('error', () => {})
      gateway().faults.raiseConflicts({ at: 'statement' })
      gateway().faults.cut({ at: 'statement' })
      for (const text of [
        'BEGIN',
        'SAVEPOINT a',
        'ROLLBACK TO a',
        'RELEASE a',
        'SHOW timezone',
        'ROLLBACK',
      ])
        await client.query(text)
      await client.query(`SET application_name = 'x'`)
      expect((await rejectionOf(client.query('SELECT 1'))) as Error).toMatchObject({
        message: 'Connection terminated unexpectedly',
      })
    })
  })

  it.each(['COMMIT', 'commit work', 'END', '/* a comment */ Commit', '-- another\nCOMMIT;'])(
    'take %j for a COMMIT',
    async (text) => {
      await withClient(gateway(), async (client) => {
        gateway().faults.raiseConflicts()
        await client.query('BEGIN')
        expect(await rejectionOf(client.query(text))).toMatchObject({ code: '40001' })
      })
    },
  )

  it('happen as often as they were asked for, in the order in which they were', async () => {
    await withClient(gateway(), async (client) => {
      gateway().faults.raiseConflicts({ at: 'statement', times: 2 })
      gateway().faults.raiseConflicts({ at: 'statement', code: 'OC001' })
      const texts: string[] = []
      for (let turn = 0; turn < 3; turn++)
        texts.push(((await rejectionOf(client.query('SELECT 1'))) as Error).message)
      expect(texts.map((text) => /OC00./.exec(text)?.[0])).toEqual(['OC000', 'OC000', 'OC001'])
      await client.query('SELECT 1')
    })
  })

  it('happen always and never with a probability of 1 and 0', async () => {
    await withClient(gateway(), async (client) => {
      gateway().faults.raiseConflicts({ at: 'statement', probability: 1 })
      for (let turn = 0; turn < 5; turn++)
        expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({ code: '40001' })
      gateway().faults.raiseConflicts({ at: 'statement', probability: 0 })
      await client.query('SELECT 1')
    })
  })

  it('are no more when they were cleared', async () => {
    const { faults } = gateway()
    faults.raiseConflicts({ times: 5 })
    for (const at of ['statement', 'commit'] as const) faults.raiseConflicts({ at, probability: 1 })
    for (const at of ['statement', 'before-commit', 'after-commit'] as const)
      faults.cut({ at, times: 5 })
    faults.rejectLogins({ times: 5 })
    faults.limitConnections({ max: 0 })
    faults.endSessionsAt(1)
    faults.clear()
    await withClient(gateway(), async (client) => {
      await client.query('BEGIN')
      await client.query('SELECT 1')
      await client.query('COMMIT')
    })
  })

  it('meet the right one of several requests that were sent at once', async () => {
    await withPostgresJs(gateway(), { max: 1 }, async (sql) => {
      await sql`SELECT 1`
      gateway().faults.raiseConflicts({ at: 'statement' })
      const results = await Promise.allSettled([
        sql`SELECT ${'a'}::text AS value`,
        sql`SELECT ${'b'}::text AS value`,
        sql.unsafe(`SELECT 'c' AS value`),
      ])
      expect(results[0]).toMatchObject({ reason: { code: '40001' } })
      expect(results.slice(1)).toMatchObject([
        { value: [{ value: 'b' }] },
        { value: [{ value: 'c' }] },
      ])
    })
  })

  it('roll a transaction of Postgres.js back as a whole', async () => {
    await withPostgresJs(gateway(), { max: 1 }, async (sql) => {
      gateway().faults.raiseConflicts()
      const run = sql.begin(async (transaction) => {
        await transaction`INSERT INTO item VALUES (${1})`
      })
      expect(await rejectionOf(run)).toMatchObject({ code: '40001' })
      expect(await sql`SELECT * FROM item`).toHaveLength(0)
    })
  })
})
