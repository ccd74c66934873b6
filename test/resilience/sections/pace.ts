/** A server at its connection limit or connection rate, and one that disconnects. */
import { isPgIamError } from '../../../core/index.js'
import { errorChain, rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { occupy } from '../occupy.js'
import type { SectionContext } from '../section-context.js'
import { eventually } from '../../support/eventually.js'

export function describePace({ connect, rig }: SectionContext): void {
  it.each(['53300', '53400'])('retries when the login is rejected with %s', async (sqlState) => {
    const { client } = connect()
    const { loginsRefused } = rig().gateway.stats()
    rig().gateway.faults.rejectLogins({ sqlState, times: 3 })
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(rig().gateway.stats().loginsRefused - loginsRefused).toBe(3)
  })

  it('opens all its connections to a server that admits only a few at once', async () => {
    const { login, client } = connect({}, 5)
    rig().gateway.faults.limitConnections({ perSecond: 5, burst: 1 })
    const { refusals } = rig().gateway.stats()
    await occupy(client, 5)
    expect(login.stats().connectionsOpened).toBeGreaterThanOrEqual(5)
    // The limit was reached, so the fault was effective.
    expect(rig().gateway.stats().refusals.fault ?? 0).toBeGreaterThan(refusals.fault ?? 0)
  })

  it("reports the server's error when no connection is free in time", async () => {
    const { client } = connect({ connectTimeoutMs: 2_000 })
    rig().gateway.faults.limitConnections({ max: 0 })
    const error = await rejectionOf(client.run('SELECT 1'))
    expect(errorChain(error)).toContainEqual(
      expect.objectContaining({ code: '53300', message: expect.stringContaining('too many') }),
    )
    rig().gateway.faults.clear()
    // The pause after so many refusals may exceed the time limit of this login.
    await eventually('a connection', () =>
      client.run('SELECT 1').then(
        () => true,
        () => false,
      ),
    )
  })

  it('does not retry when the login is rejected for another reason', async () => {
    const { client } = connect()
    const { loginsRefused } = rig().gateway.stats()
    rig().gateway.faults.rejectLogins({ sqlState: '28000', times: 5 })
    const error = await rejectionOf(client.run('SELECT 1'))
    expect(errorChain(error)).toContainEqual(expect.objectContaining({ code: '28000' }))
    expect(rig().gateway.stats().loginsRefused - loginsRefused).toBe(1)
  })

  it('keeps to the rate of the login', async () => {
    // One immediately, and the next one after ten seconds, which exceeds the time limit.
    const { client } = connect({ connectRate: 0.1, connectTimeoutMs: 2_000 }, 2)
    const { loginsAccepted } = rig().gateway.stats()
    await client.transaction(async (statements) => {
      await statements.run('SELECT 1')
      const error = await rejectionOf(client.run('SELECT 1'))
      expect(errorChain(error).some((link) => isPgIamError(link, 'ERR_CONNECT_TIMEOUT'))).toBe(true)
    })
    expect(rig().gateway.stats().loginsAccepted - loginsAccepted).toBe(1)
  })

  it('times out if a login takes too long, and leaves no connection', async () => {
    const { client } = connect({ connectTimeoutMs: 2_000 })
    const release = rig().gateway.faults.stallLogins({ times: 10 })
    const error = await rejectionOf(client.run('SELECT 1'))
    expect(errorChain(error).some((link) => isPgIamError(link, 'ERR_CONNECT_TIMEOUT'))).toBe(true)
    release()
    rig().gateway.faults.clear()
    await eventually(
      'the gateway to see no connection',
      () => rig().gateway.stats().connectionsOpen === 0,
    )
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it.each([
    ['before TLS', 'before-tls'],
    ['in authentication', 'authentication'],
    ['at the first statement', 'statement'],
  ] as const)(
    'fails the query, without reconnecting in a loop, when the server disconnects %s',
    async (_when, at) => {
      const { client } = connect()
      const accepted = rig().relay.accepted()
      rig().gateway.faults.cut({ at, times: 1_000_000 })
      const error = await rejectionOf(client.run('SELECT 1'))
      expect(String(errorChain(error).at(-1))).toMatch(/closed|disconnected|terminated|ECONNRESET/)
      expect(rig().relay.accepted() - accepted).toBe(1)
      rig().gateway.faults.clear()
      expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
      expect(rig().relay.accepted() - accepted).toBe(2)
    },
  )
}
