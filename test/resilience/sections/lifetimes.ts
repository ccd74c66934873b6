/** Connections are replaced in the pool, each at its own maximum age, and never while the application holds them. */
import { setTimeout as pause } from 'node:timers/promises'
import { collectEvents, type CollectedEvents } from '../../core/support/collect-events.js'
import type { Statements } from '../../clients/client.js'
import { occupy } from '../occupy.js'
import type { SectionContext } from '../section-context.js'
import { eventually } from '../../support/eventually.js'

const LIFETIME_MS = 1_000
/** Time after which a timer of that lifetime has fired. */
const BEYOND_MS = 300

export function describeLifetimes({ connect, entry, rig }: SectionContext): void {
  let collected: CollectedEvents
  beforeEach(() => {
    collected = collectEvents()
  })
  afterEach(() => collected.stop())

  const retirements = (): Record<string, unknown>[] =>
    collected.events
      .filter(({ name }) => name === 'pg-iam:connection.retired')
      .map(({ event }) => event)

  it('replaces idle connections, each at its own age', async () => {
    const { login, client } = connect({ maxLifetimeSecs: 1 }, 3)
    await occupy(client, 3)
    const { connectionsOpened } = login.stats()
    expect(connectionsOpened).toBeGreaterThanOrEqual(3)
    if (entry.retiresIdle)
      await eventually('all connections to retire', () => login.stats().connectionsOpen === 0)
    else await pause(LIFETIME_MS)
    await occupy(client, 3)
    await eventually(
      'the old connections to be gone',
      () => retirements().length >= connectionsOpened,
    )
    // On a slow machine the new ones may have been retired too.
    const ages = retirements().map(({ ageMs }) => ageMs)
    expect(new Set(ages.slice(0, connectionsOpened)).size).toBeGreaterThan(1)
    // Closed regularly by both sides.
    expect(retirements().filter(({ error }) => error !== undefined)).toEqual([])
    expect(login.stats().connectionsOpened).toBeGreaterThanOrEqual(connectionsOpened + 3)
  })

  it('completes a transaction on the connection on which it began', async () => {
    const { login, client } = connect({ maxLifetimeSecs: 1 })
    await client.transaction(async (statements) => {
      const backend = await backendOf(statements)
      const openedAt = Date.now()
      await eventually('the connection to be past its lifetime', async () => {
        await statements.run('SELECT 1')
        return Date.now() - openedAt > LIFETIME_MS + BEYOND_MS
      })
      expect(await backendOf(statements)).toBe(backend)
      await statements.addNote(1)
    })
    expect(await rig().notes()).toEqual([1])
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(login.stats().connectionsOpened).toBeGreaterThan(1)
    expect(retirements().filter(({ error }) => error !== undefined)).toEqual([])
  })

  it('completes a transaction that was idle for a while on its connection', async () => {
    const { client } = connect({ maxLifetimeSecs: 1 })
    await client.transaction(async (statements) => {
      const backend = await backendOf(statements)
      const openedAt = Date.now()
      await eventually(
        'the connection to be past its lifetime',
        () => Date.now() - openedAt > LIFETIME_MS + BEYOND_MS,
      )
      expect(await backendOf(statements)).toBe(backend)
    })
  })

  it('keeps a connection that the application holds, with its session state, and replaces it afterwards', async () => {
    const { login, client } = connect({ maxLifetimeSecs: 1 })
    const held = await client.hold()
    for (const statement of SESSION_STATE) await held.run(statement)
    const backend = await backendOf(held)
    await pause(LIFETIME_MS + BEYOND_MS)
    expect(await backendOf(held)).toBe(backend)
    expect(await held.run('SELECT pg_listening_channels() AS channel')).toEqual([
      { channel: 'jobs' },
    ])
    expect(await held.run(LOCKS_HELD)).toEqual([{ held: 1 }])
    expect(await held.run('SHOW lock_timeout')).toEqual([{ lock_timeout: '4711ms' }])
    expect(await held.run('SELECT id FROM pg_temp.kept')).toEqual([{ id: 1 }])
    expect(await held.run('FETCH ALL FROM counted')).toEqual([{ n: 1 }, { n: 2 }])
    await held.release()
    // The original Postgres.js (3.4) ends it after the next reply, and fails queries until it is closed.
    if (!entry.takesAgedBack) {
      await client.run('SELECT 1')
      // It no longer counts once its end was requested, but Postgres.js continues only when it has ended.
      await eventually('the old connection to have ended', () => retirements().length === 1)
    }
    for (let query = 1; query <= 20; query++)
      expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(await backendOf(client)).not.toBe(backend)
    await eventually('the old connection to be gone', () => login.stats().connectionsOpen === 1)
    expect(retirements().filter(({ error }) => error !== undefined)).toEqual([])
  })

  it('fails no query when the server has ended the sessions of an idle pool', async () => {
    const { login, client } = connect({}, 3)
    await occupy(client, 3)
    rig().gateway.faults.endSessionsAt(1)
    await eventually('the sessions to end', () => login.stats().connectionsOpen === 0)
    rig().gateway.faults.endSessionsAt(undefined)
    await occupy(client, 3)
  })

  it('replaces connections in constant use before the server ends them', async () => {
    // Long after the lifetime: a slow machine may take a second for a transaction.
    rig().gateway.faults.endSessionsAt(10 * LIFETIME_MS)
    const { login, client } = connect({ maxLifetimeSecs: 1 }, 2)
    let failures: unknown[] = []
    const work = async (task: number): Promise<void> => {
      for (let turn = 0; login.stats().connectionsOpened < 6; turn++) {
        const call =
          turn % 2 === 0
            ? client.run('SELECT 1')
            : client.transaction(async (statements) => {
                await statements.run('SELECT 1')
                await statements.run(`SELECT ${task}`)
              })
        await call.catch((error: unknown) => (failures = [...failures, error]))
      }
    }
    await Promise.all([work(1), work(2), work(3)])
    expect(failures).toEqual([])
    expect(retirements().filter(({ error }) => error !== undefined)).toEqual([])
  })
}

/** The session state outside a transaction, one of each kind. */
const SESSION_STATE = [
  'LISTEN jobs',
  'SELECT pg_advisory_lock(4712)',
  "SET lock_timeout = '4711ms'",
  'CREATE TEMPORARY TABLE kept AS SELECT 1 AS id',
  'BEGIN',
  'DECLARE counted CURSOR WITH HOLD FOR SELECT n::int FROM generate_series(1, 2) AS n',
  'COMMIT',
]

const LOCKS_HELD =
  "SELECT count(*)::int AS held FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"

async function backendOf(statements: Pick<Statements, 'run'>): Promise<unknown> {
  const [row] = await statements.run('SELECT pg_backend_pid() AS pid')
  return row?.['pid']
}
