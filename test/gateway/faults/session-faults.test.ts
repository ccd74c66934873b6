import { once } from 'node:events'
import { Client } from 'pg'
import { createPool } from '../../../adapters/pg.js'
import { isOccConflict } from '../../../core/index.js'
import { createSessionFaults } from '../../../gateway/faults/session-faults.js'
import type { Gateway } from '../../../gateway/index.js'
import { readyForQuery } from '../../../wire/messages.js'
import { BLOCKED, startRig } from '../../resilience/rig.js'
import { eventually } from '../../support/eventually.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { launchPostgres } from '../../support/launch-postgres.js'
import { frontend, int16, int32, text } from '../../wire/frontend-messages.js'
import { pgSettings, withClient, withPostgresJs } from '../engines/checks/gateway-clients.js'
import { describeOnEachEngine, itemsIn } from './fault-gateways.js'

describeOnEachEngine('session faults', (gateway) => {
  it('list the open sessions', async () => {
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
    await eventually('the session to be gone', () =>
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

  it('end every session at the given age, including open and future sessions', async () => {
    const open = await connected(gateway())
    const ended = once(open, 'error')
    gateway().faults.endSessionsAt(1)
    const MAXIMUM = { code: '57P01', message: expect.stringContaining('maximum duration') }
    expect((await ended)[0]).toMatchObject(MAXIMUM)
    const late = new Client(pgSettings(gateway()))
    const errors: unknown[] = []
    late.on('error', (error) => errors.push(error))
    const lateEnded = new Promise((resolve) => late.once('end', resolve))
    // The session may end before pg has handled its start.
    await late.connect().catch((error: unknown) => errors.push(error))
    await lateEnded
    expect(errors).toContainEqual(expect.objectContaining(MAXIMUM))
    gateway().faults.endSessionsAt(undefined)
    await withClient(gateway(), (client) => client.query('SELECT 1'))
  })
})

it('a killed session does not complete its running statement', async () => {
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
  await eventually('the backend to be gone', async () => {
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

/** The ways in which pg sends a statement: simple, extended, and as a named prepared statement. */
const PROTOCOLS: readonly [
  name: string,
  run: (client: Client, text: string) => Promise<unknown>,
][] = [
  ['simple', (client, text) => client.query(text)],
  ['extended', (client, text) => client.query({ text, queryMode: 'extended' } as never)],
  ['prepared', (client, text) => client.query({ name: text, text })],
]

describeOnEachEngine('statement and commit faults', (gateway) => {
  describe.each(PROTOCOLS)('with the %s protocol', (_name, run) => {
    const begin = async (client: Client): Promise<void> => {
      await run(client, 'BEGIN')
      await run(client, 'INSERT INTO item VALUES (1)')
    }

    it('raise a conflict at COMMIT, which rolls back, and keep the session usable', async () => {
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
        // Outside of a transaction, and usable.
        expect(await run(client, 'SELECT 1 AS one')).toMatchObject({ rows: [{ one: 1 }] })
        await begin(client)
        await run(client, 'COMMIT')
      })
      expect(await itemsIn(gateway())).toEqual([1])
    })

    it('occur again in the same session', async () => {
      await withClient(gateway(), async (client) => {
        for (const at of ['statement', 'commit', 'statement', 'commit'] as const) {
          await run(client, 'BEGIN')
          gateway().faults.raiseConflicts({ at })
          const error = await rejectionOf(run(client, at === 'commit' ? 'COMMIT' : 'SELECT 1'))
          expect(error).toMatchObject({ code: '40001' })
          if (at === 'statement') await run(client, 'ROLLBACK')
          // No fault is armed any more.
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
          message: 'schema has been updated by another transaction (OC001)',
        })
        expect(await rejectionOf(run(client, 'SELECT 1'))).toMatchObject({ code: '25P02' })
        await run(client, 'ROLLBACK')
        expect(await run(client, 'SELECT 1 AS one')).toMatchObject({ rows: [{ one: 1 }] })
      })
      expect(await itemsIn(gateway())).toEqual([])
    })

    it('cut the connection after a statement is received, before it runs', async () => {
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

  it('do not apply to BEGIN, ROLLBACK, SAVEPOINT, SET and SHOW', async () => {
    await withClient(gateway(), async (client) => {
      client.on('error', () => {})
      gateway().faults.raiseConflicts({ at: 'statement' })
      gateway().faults.cut({ at: 'statement' })
      // Aurora DSQL has no savepoints. On PGlite the SQL is PostgreSQL's.
      const savepoints = ['SAVEPOINT a', 'ROLLBACK TO a', 'RELEASE a']
      const isPostgres = gateway().engine === 'pglite'
      for (const text of ['BEGIN', ...(isPostgres ? savepoints : []), 'SHOW timezone', 'ROLLBACK'])
        await client.query(text)
      await client.query(`SET application_name = 'x'`)
      expect((await rejectionOf(client.query('SELECT 1'))) as Error).toMatchObject({
        message: 'Connection terminated unexpectedly',
      })
    })
  })

  it.each(['COMMIT', 'commit work', 'END', '/* a comment */ Commit', '-- another\nCOMMIT;'])(
    'treat %j as a COMMIT',
    async (text) => {
      await withClient(gateway(), async (client) => {
        gateway().faults.raiseConflicts()
        await client.query('BEGIN')
        expect(await rejectionOf(client.query(text))).toMatchObject({ code: '40001' })
      })
    },
  )

  it('occur the given number of times, in order', async () => {
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

  it('occur always with probability 1 and never with probability 0', async () => {
    await withClient(gateway(), async (client) => {
      gateway().faults.raiseConflicts({ at: 'statement', probability: 1 })
      for (let turn = 0; turn < 5; turn++)
        expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({ code: '40001' })
      gateway().faults.raiseConflicts({ at: 'statement', probability: 0 })
      await client.query('SELECT 1')
    })
  })

  it('do not occur after they were cleared', async () => {
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

  it('apply to the right one of several pipelined requests', async () => {
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

  it('roll back a whole Postgres.js transaction', async () => {
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

const bind = (statement: string): Buffer =>
  frontend('B', text(''), text(statement), int16(0), int16(0), int16(0))
const execute = frontend('E', text(''), int32(0))
const sync = frontend('S')

function setting(): {
  faults: ReturnType<typeof createSessionFaults>
  reply: (chunk: Buffer) => { bytes: Buffer; isCut: boolean }
  arm: () => void
} {
  let isArmed = false
  const decisions = {
    get isArmed() {
      return isArmed
    },
    cut: () => false,
    conflict: (at: string) => (isArmed && at === 'commit' ? ('OC000' as const) : undefined),
  }
  const faults = createSessionFaults(decisions)
  const reply = (chunk: Buffer): { bytes: Buffer; isCut: boolean } => faults.toClient(chunk)
  reply(readyForQuery('I'))
  return { faults, reply, arm: () => (isArmed = true) }
}

describe('a session without armed faults', () => {
  it('forwards messages and replies unchanged, and does not parse the SQL of queries', () => {
    const { faults, reply } = setting()
    const messages = Buffer.concat([frontend('Q', text('COMMIT')), frontend('Q', text('SELECT 1'))])
    const answer = readyForQuery('I')
    const decoded = jest.spyOn(Buffer.prototype, 'toString')
    expect(faults.toEngine(messages)).toBe(messages)
    expect(reply(answer).bytes).toBe(answer)
    expect(decoded).not.toHaveBeenCalled()
  })

  it('remembers prepared statements for faults that are armed later', () => {
    const { faults, reply, arm } = setting()
    const parse = frontend('P', text('c'), text('/* of a pool */ COMMIT'), int16(0))
    faults.toEngine(Buffer.concat([parse, bind('c'), sync]))
    reply(readyForQuery('T'))
    arm()
    const messages = Buffer.concat([bind('c'), execute, sync])
    expect(faults.toEngine(messages)?.toString('latin1')).toMatch(/ROLLBACK/)
  })
})
