/** Conflicts raised by PostgreSQL, between transactions that run concurrently. */
import type { Statements } from '../../clients/client.js'
import { RDS_HOST } from '../rig.js'
import type { SectionContext } from '../section-context.js'

const TASKS = 3

export function describeRealConflicts({ connect, rig }: SectionContext): void {
  beforeAll(async () => {
    await rig().admin('CREATE TABLE IF NOT EXISTS counter (id int PRIMARY KEY, value int NOT NULL)')
    await rig().admin('GRANT ALL ON counter TO app')
  })

  it.each(['repeatable read', 'serializable'] as const)(
    'loses no increment under %s',
    async (isolation) => {
      await rig().admin('TRUNCATE counter')
      await rig().admin('INSERT INTO counter VALUES (1, 0)')
      const { login, client } = connect({ host: RDS_HOST }, TASKS)
      const allHaveRead = barrier(TASKS)
      let runs = 0
      const increment = (): Promise<void> =>
        client.transaction(
          async (statements) => {
            const isFirst = ++runs <= TASKS
            const value = await valueIn(statements, 1)
            if (isFirst) await allHaveRead()
            await statements.run(`UPDATE counter SET value = ${value + 1} WHERE id = 1`)
          },
          { isolation, baseDelayMs: 2, maxDelayMs: 50, maxAttempts: 50 },
        )
      await Promise.all(Array.from({ length: TASKS }, increment))
      expect(await rig().admin('SELECT value FROM counter')).toEqual([{ value: TASKS }])
      // Of those that read the same value, all except one had to be retried.
      expect(runs).toBeGreaterThanOrEqual(2 * TASKS - 1)
      expect(login.stats().conflictsRetried).toBe(runs - TASKS)
    },
  )

  it('does not allow write skew under serializable', async () => {
    await rig().admin('TRUNCATE counter')
    await rig().admin('INSERT INTO counter VALUES (1, 1), (2, 1)')
    const { client } = connect({ host: RDS_HOST }, 2)
    const bothHaveRead = barrier(2)
    let runs = 0
    // Each may go to zero unless the other has, so they must not both do so.
    const leave = (id: number): Promise<void> =>
      client.transaction(
        async (statements) => {
          const isFirst = ++runs <= 2
          const [row] = await statements.run('SELECT sum(value)::int AS sum FROM counter')
          if (isFirst) await bothHaveRead()
          if (Number(row?.['sum']) > 1)
            await statements.run(`UPDATE counter SET value = 0 WHERE id = ${id}`)
        },
        { isolation: 'serializable', baseDelayMs: 2, maxDelayMs: 50, maxAttempts: 50 },
      )
    await Promise.all([leave(1), leave(2)])
    expect(await rig().admin('SELECT sum(value)::int AS sum FROM counter')).toEqual([{ sum: 1 }])
    expect(runs).toBe(3)
  })
}

async function valueIn(statements: Statements, id: number): Promise<number> {
  const [row] = await statements.run(`SELECT value FROM counter WHERE id = ${id}`)
  return Number(row?.['value'])
}

/** Resolves for all callers once that many wait. */
function barrier(count: number): () => Promise<void> {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  let waiting = 0
  return () => {
    if (++waiting === count) open()
    return opened
  }
}
