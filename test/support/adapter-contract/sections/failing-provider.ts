/** A failing provider: the application gets its error, nothing leaks or hangs, and the next connection tries again. */
import { atOnce, connectionsOpen, tokensFor, type ContractContext } from '../contract-context.js'
import { errorChain, rejectionOf } from '../error-chain.js'
import { eventually } from '../../eventually.js'
import { fakeDate } from '../fake-date.js'

const HOUR_MS = 3_600_000

export function describeFailingProvider(context: ContractContext): void {
  const { failures } = context.provider

  describe('in a separate process', () => {
    it('never ends the process', () => {
      expect(context.process().result).toMatchObject({ end: 0, output: '' })
    })

    it.each(failures)(
      'fails 40 queries, and serves 40 more after credentials are available, when the provider $name',
      ({ name, hasOriginal }) => {
        expect(context.process().result.report?.failures[name]).toEqual({
          failed: 40,
          withOriginal: hasOriginal ? 40 : 0,
          withCode: 40,
          recovered: 40,
          tokens: tokensFor(context.server(), 5),
        })
      },
    )
  })

  it('leaves no open connections on either side', async () => {
    const { gateway, providerLogin, relay } = context.server()
    const original = new Error('no credentials today')
    const db = context.open(providerLogin({}, () => Promise.reject(original)))
    const errors = await atOnce(10, () => rejectionOf(db.run('SELECT 1')))
    for (const error of errors) expect(errorChain(error)).toContain(original)
    await eventually(
      'the gateway to see no connection',
      () => gateway.stats().connectionsOpen === 0,
    )
    await eventually('the relay to see no connection', () => relay.open() === 0)
  })

  it('recovers from a provider outage that began when the connections were lost', async () => {
    const { endSessions, gateway, providerLogin, stand } = context.server()
    const original = new Error('no credentials today')
    const putForward = fakeDate()
    let failing = false
    const login = providerLogin({}, async () => {
      if (failing) throw original
      return (await stand.issue(gateway, { durationSecs: 3_600 })).given
    })
    const db = context.open(login, { poolSize: 3 })
    await atOnce(6, () => db.run('SELECT 1'))
    await connectionsOpen(login, db, 3)

    failing = true
    putForward(HOUR_MS)
    await endSessions()
    await connectionsOpen(login, db, 0)
    const errors = await atOnce(6, () => rejectionOf(db.run('SELECT 1')))
    for (const error of errors) expect(errorChain(error)).toContain(original)

    failing = false
    expect(await atOnce(6, () => db.run('SELECT 1 AS one'))).toHaveLength(6)
  })

  it("passes the server's refusal on unchanged", async () => {
    const { gateway, provider, providerLogin, stand } = context.server()
    const issued = await stand.issue(gateway, { durationSecs: 3_600 })
    issued.revoke()
    const db = context.open(providerLogin({}, () => issued.given))
    const error = await rejectionOf(db.run('SELECT 1'))
    expect(errorChain(error)).toContainEqual(
      expect.objectContaining({ code: provider.refusedWith }),
    )
    await eventually(
      'the gateway to see no connection',
      () => gateway.stats().connectionsOpen === 0,
    )
  })
}
