/** Connections are replaced at an age, each at its own, in use or idle, and never in the middle of a transaction. */
import { collectEvents, type CollectedEvents } from '../../core/support/collect-events.js'
import type { Statements } from '../clients/resilient-client.js'
import { occupy } from '../occupy.js'
import type { SectionContext } from '../section-context.js'
import { until } from '../until.js'

const LIFETIME_MS = 1_000
/** The longest that an idle connection lives beyond its lifetime: until it has been quiet for a tenth of it, looked at that often. */
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
    await until('all connections to retire', () => login.stats().connectionsOpen === 0)
    const ages = retirements().map(({ ageMs }) => ageMs)
    expect(ages).toHaveLength(connectionsOpened)
    expect(new Set(ages).size).toBeGreaterThan(1)
    // In good order: neither side broke anything off.
    expect(retirements().filter(({ error }) => error !== undefined)).toEqual([])
    await occupy(client, 3)
    expect(login.stats()).toMatchObject({ connectionsOpened: connectionsOpened + 3 })
  })

  it('lets a transaction end on the connection on which it began', async () => {
    const { login, client } = connect({ maxLifetimeSecs: 1 })
    await client.transaction(async (statements) => {
      const backend = await backendOf(statements)
      const openedAt = Date.now()
      await until('the connection to be past its lifetime', async () => {
        await statements.run('SELECT 1')
        return Date.now() - openedAt > LIFETIME_MS + BEYOND_MS
      })
      expect(await backendOf(statements)).toBe(backend)
      await statements.insert(1)
    })
    expect(await rig().notes()).toEqual([1])
    await until('the connection to retire', () => login.stats().connectionsOpen === 0)
    expect(retirements().filter(({ error }) => error !== undefined)).toEqual([])
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('lets a transaction that does nothing for a while end on its connection', async () => {
    const { client } = connect({ maxLifetimeSecs: 1 })
    await client.transaction(async (statements) => {
      const backend = await backendOf(statements)
      const openedAt = Date.now()
      await until(
        'the connection to be past its lifetime',
        () => Date.now() - openedAt > LIFETIME_MS + BEYOND_MS,
      )
      expect(await backendOf(statements)).toBe(backend)
    })
  })

  it('fails no query when the server has ended the sessions of an idle pool', async () => {
    const { login, client } = connect({}, 3)
    await occupy(client, 3)
    rig().gateway.faults.endSessionsAt(1)
    await until('the sessions to end', () => login.stats().connectionsOpen === 0)
    rig().gateway.faults.endSessionsAt(undefined)
    await occupy(client, 3)
  })

  if (!entry.replacesBusy) return

  it('replaces connections that are in use all the time, before the server ends them', async () => {
    rig().gateway.faults.endSessionsAt(2 * LIFETIME_MS)
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

async function backendOf(statements: Statements): Promise<unknown> {
  const [row] = await statements.run('SELECT pg_backend_pid() AS pid')
  return row?.['pid']
}
