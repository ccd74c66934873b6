/** Queries, parameters and transactions through the client's own API. */
import { atOnce, type ContractContext } from '../contract-context.js'
import { rejectionOf } from '../error-chain.js'

export function describeLogin(context: ContractContext): void {
  it('runs queries as the user of the login, in its database', async () => {
    const db = context.open(context.server().providerLogin())
    const rows = await db.run('SELECT current_user AS role, current_database() AS name')
    expect(rows).toEqual([{ role: context.server().stand.role, name: 'postgres' }])
  })
}

export function describeQueries(context: ContractContext): void {
  const database = () => context.open(context.server().providerLogin())

  it('writes and reads with parameters', async () => {
    const db = database()
    const id = context.nextId()
    const body = `it's "quoted" \\ and ünïcødé 😀 ${'x'.repeat(100_000)}`
    await db.addNote(id, body)
    expect(await db.findNote(id)).toBe(body)
    expect(await db.findNote(-id)).toBeUndefined()
  })

  it('keeps the changes of a committed transaction', async () => {
    const db = database()
    const [first, second] = [context.nextId(), context.nextId()]
    await db.ownTransaction(async (transaction) => {
      await transaction.addNote(first, 'one')
      await transaction.addNote(second, 'two')
      expect(await transaction.findNote(first)).toBe('one')
    })
    expect([await db.findNote(first), await db.findNote(second)]).toEqual(['one', 'two'])
  })

  it('rolls a failed transaction back, and rejects with its error', async () => {
    const db = database()
    const id = context.nextId()
    const failure = new Error('changed my mind')
    const error = await rejectionOf(
      db.ownTransaction(async (transaction) => {
        await transaction.addNote(id, 'gone')
        throw failure
      }),
    )
    expect(error).toBe(failure)
    expect(await db.findNote(id)).toBeUndefined()
  })

  it('continues after database errors', async () => {
    const db = database()
    await expect(db.run('SELECT * FROM no_such_table')).rejects.toThrow()
    const errors = await atOnce(20, () => rejectionOf(db.run('SELECT 1 / 0')))
    expect(errors).toHaveLength(20)
    expect(await db.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('runs many concurrent transactions', async () => {
    const db = database()
    const ids = Array.from({ length: 20 }, () => context.nextId())
    await Promise.all(
      ids.map((id) =>
        db.ownTransaction(async (transaction) => transaction.addNote(id, `note ${id}`)),
      ),
    )
    const bodies = await Promise.all(ids.map((id) => db.findNote(id)))
    expect(bodies).toEqual(ids.map((id) => `note ${id}`))
  })
}
