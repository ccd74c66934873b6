/** The number of tokens and credential requests for connections. */
import { atOnce, countCalls, tokensFor, type ContractContext } from '../contract-context.js'
import { eventually } from '../../eventually.js'

export function describeOneTokenPerConnection(context: ContractContext, queries = 1_000): void {
  it(`uses five tokens for ${queries.toLocaleString('en')} queries on five connections`, async () => {
    const { gateway, providerLogin, relay, stand } = context.server()
    const { request, calls } = countCalls(() => stand.issueForever(gateway))
    const before = { logins: gateway.stats().loginsAccepted, dialled: relay.accepted() }
    const login = providerLogin({}, request)
    const db = context.open(login, { poolSize: 5 })

    const rows = await atOnce(queries, (index) => db.run(`SELECT ${index} AS n`))

    expect(rows.map(([row]) => row?.['n'])).toEqual(Array.from({ length: queries }, (_, n) => n))
    const tokensMade = tokensFor(context.server(), 5)
    expect(login.stats()).toMatchObject({
      tokensMade,
      tokensFailed: 0,
      tokensReused: 5 - tokensMade,
    })
    expect(gateway.stats().loginsAccepted - before.logins).toBe(5)
    expect(relay.accepted() - before.dialled).toBe(5)
    expect([login.stats().credentialCalls, calls()]).toEqual([1, 1])
  })

  it('gets no token before the first query, and none while the connection is open', async () => {
    const login = context.server().providerLogin()
    const db = context.open(login, { poolSize: 1 })
    expect(login.stats().tokensMade).toBe(0)
    await db.run('SELECT 1')
    await db.ownTransaction(async (transaction) => {
      await transaction.run('SELECT 1')
    })
    await db.run('SELECT 1')
    expect(login.stats().tokensMade).toBe(1)
  })

  it('can share one login between two pools', async () => {
    const { gateway, providerLogin } = context.server()
    const before = gateway.stats().loginsAccepted
    const logins = () => gateway.stats().loginsAccepted - before
    const login = providerLogin()
    const pools = [context.open(login, { poolSize: 2 }), context.open(login, { poolSize: 3 })]
    const rows = await atOnce(100, (index) => pools[index % 2]!.run('SELECT 1 AS one'))
    expect(rows.flat()).toHaveLength(100)
    await eventually('five connections', () => logins() >= 5)
    expect(login.stats()).toMatchObject({
      tokensMade: tokensFor(context.server(), 5),
      credentialCalls: 1,
    })
  })
}

export function describeBurst(context: ContractContext): void {
  it('requests credentials once when 50 connections are opened at the same time', async () => {
    const { gateway, providerLogin, relay, stand } = context.server()
    const { request, calls } = countCalls(() => stand.issueForever(gateway))
    const before = { logins: gateway.stats().loginsAccepted, dialled: relay.accepted() }
    const login = providerLogin({}, request)
    const db = context.open(login, { poolSize: 50 })

    const rows = await atOnce(50, () => db.run('SELECT 1 AS one'))

    expect(rows.flat()).toEqual(Array.from({ length: 50 }, () => ({ one: 1 })))
    expect([login.stats().credentialCalls, calls()]).toEqual([1, 1])
    expect(login.stats().tokensMade).toBe(tokensFor(context.server(), 50))
    // The last connections may be opened after the first ones have done all the work.
    const logins = () => gateway.stats().loginsAccepted - before.logins
    await eventually('50 logins', () => logins() >= 50)
    expect([logins(), relay.accepted() - before.dialled]).toEqual([50, 50])
  })
}
