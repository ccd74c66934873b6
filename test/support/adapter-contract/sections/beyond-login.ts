/**
 * Behaviour of logged-in connections, where the provider no longer matters: a short version for the providers that `test/resilience` does
 * not cover.
 */
import { isOccConflict, retryOnConflict } from '../../../../core/index.js'
import type { ContractContext } from '../contract-context.js'
import { rejectionOf } from '../error-chain.js'
import { eventually } from '../../eventually.js'

export function describeDyingBackends(context: ContractContext): void {
  it('rejects a statement whose backend is killed, and frees the pool slot', async () => {
    const { endSessions, providerLogin } = context.server()
    const db = context.open(providerLogin(), { poolSize: 1 })
    let failure: unknown
    void db.run('SELECT pg_sleep(600)').catch((error: unknown) => (failure = error))
    while (failure === undefined) await endSessions()
    expect(failure).toBeInstanceOf(Error)
    expect(await db.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('writes nothing of a transaction whose backend is killed between its statements', async () => {
    const { endSessions, providerLogin } = context.server()
    const login = providerLogin()
    const db = context.open(login, { poolSize: 1 })
    const [before, after] = [context.nextId(), context.nextId()]
    const error = await rejectionOf(
      db.ownTransaction(async (transaction) => {
        await transaction.addNote(before, 'before')
        await endSessions()
        await eventually('the client to notice', () => login.stats().connectionsOpen === 0)
        await transaction.addNote(after, 'after')
      }),
    )
    expect(error).toBeInstanceOf(Error)
    expect([await db.findNote(before), await db.findNote(after)]).toEqual([undefined, undefined])
  })
}

export function describeConflicts(context: ContractContext): void {
  it("recognizes a conflict in the client's error, and retries the transaction", async () => {
    const { gateway, providerLogin } = context.server()
    const db = context.open(providerLogin())
    const id = context.nextId()
    const write = (): Promise<void> =>
      db.ownTransaction((transaction) => transaction.addNote(id, 'once'))
    // Sequelize logs each failed COMMIT to the console.
    jest.spyOn(console, 'warn').mockImplementation(() => {})

    gateway.faults.raiseConflicts()
    expect(isOccConflict(await rejectionOf(write()))).toBe(true)
    expect(await db.findNote(id)).toBeUndefined()
    gateway.faults.raiseConflicts({ times: 2 })
    await retryOnConflict(write, { baseDelayMs: 0 })
    expect(await db.findNote(id)).toBe('once')
  })
}

export function describeLifetimes(context: ContractContext): void {
  it('replaces a connection at its age, even if it is never idle', async () => {
    const login = context.server().providerLogin({ maxLifetimeSecs: 1 })
    const db = context.open(login, { poolSize: 1 })
    while (login.stats().connectionsOpened < 2)
      expect(await db.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
    await eventually('the old one to be gone', () => login.stats().connectionsOpen === 1)
  })
}
