/** Closing the client releases all resources. */
import { atOnce, type ContractContext } from '../contract-context.js'
import { eventually } from '../../eventually.js'

export function describeClosing(context: ContractContext): void {
  it('allows the process to exit', () => {
    expect(context.process().result).toMatchObject({ end: 0, report: { rows: 9 }, output: '' })
  })

  it('leaves no open connections, used or not', async () => {
    const { gateway, providerLogin, relay } = context.server()
    const login = providerLogin()
    await context.open(login).close()
    const db = context.open(login, { poolSize: 10 })
    await atOnce(10, () => db.run('SELECT 1'))
    await db.close()
    await eventually(
      'the gateway to see no connection',
      () => gateway.stats().connectionsOpen === 0,
    )
    await eventually('the relay to see no connection', () => relay.open() === 0)
  })

  it("sets the login's count of open connections to 0 as soon as the client reports that it is closed", async () => {
    const login = context.server().providerLogin()
    const db = context.open(login, { poolSize: 3 })
    await atOnce(3, () => db.run('SELECT 1'))
    const before = login.stats().connectionsOpened
    await db.close()
    expect(login.stats()).toMatchObject({ connectionsOpen: 0 })
    // With a password function the client connects itself, and the login counts no connection.
    expect(before > 0).toBe(db.connections === undefined)
  })
}
