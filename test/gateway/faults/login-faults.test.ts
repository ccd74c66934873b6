import { Client } from 'pg'
import type { Gateway } from '../../../gateway/index.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { pgSettings, withClient } from '../engines/checks/gateway-clients.js'
import { openPlain } from '../raw-client.js'
import { describeOnEachEngine } from './fault-gateways.js'

describeOnEachEngine('faults at logins', (gateway) => {
  const logIn = (): Promise<void> => withClient(gateway(), async () => {})
  const refusals = async (count: number): Promise<unknown[]> => {
    const errors: unknown[] = []
    for (let index = 0; index < count; index++) errors.push(await rejectionOf(logIn()))
    return errors
  }

  it('refuse the next logins with an error of choice, and no more', async () => {
    gateway().faults.rejectLogins({ times: 2, sqlState: '28000', message: 'not today' })
    gateway().faults.rejectLogins()
    expect(await refusals(3)).toEqual([
      expect.objectContaining({ code: '28000', message: 'not today', severity: 'FATAL' }),
      expect.objectContaining({ code: '28000', message: 'not today' }),
      expect.objectContaining({ code: '53300' }),
    ])
    await logIn()
  })

  it('count as refusals, by their reason', async () => {
    const before = gateway().stats().refusals.fault ?? 0
    gateway().faults.rejectLogins()
    await refusals(1)
    expect(gateway().stats().refusals.fault).toBe(before + 1)
  })

  it('hold logins up until they are let go', async () => {
    const { loginsAccepted } = gateway().stats()
    const release = gateway().faults.stallLogins()
    const held = logIn()
    // One that comes later is not held up, and is through before it.
    await logIn()
    expect(gateway().stats().loginsAccepted).toBe(loginsAccepted + 1)
    release()
    await held
    expect(gateway().stats().loginsAccepted).toBe(loginsAccepted + 2)
  })

  it('hold logins up until everything is cleared', async () => {
    gateway().faults.stallLogins({ times: 2 })
    const held = [logIn(), logIn()]
    await logIn()
    gateway().faults.clear()
    await Promise.all(held)
  })

  it('cut a connection that was just accepted', async () => {
    gateway().faults.cut({ at: 'before-tls' })
    const socket = await openPlain(gateway())
    await new Promise((resolve) => socket.resume().once('close', resolve))
    await logIn()
  })

  it('cut a connection whose token has come, without a word', async () => {
    gateway().faults.cut({ at: 'authentication', times: 2 })
    for (const error of await refusals(2))
      expect((error as Error).message).toBe('Connection terminated unexpectedly')
    await logIn()
  })

  it('limit open sessions, those in the middle of their login among them', async () => {
    gateway().faults.limitConnections({ max: 2 })
    const clients = Array.from({ length: 5 }, () => openClient(gateway()))
    const results = await Promise.allSettled(clients.map((client) => client.connect()))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
    for (const result of results)
      if (result.status === 'rejected')
        expect(result.reason).toMatchObject({
          code: '53300',
          message: 'Unable to accept connection, too many open connections.',
        })
    await Promise.all(clients.map((client) => client.end()))
    await noSession(gateway())
    // Those that failed hold no place.
    await logIn()
    gateway().faults.limitConnections(undefined)
    await Promise.all([logIn(), logIn(), logIn()])
  })

  it('limit new sessions, after a burst', async () => {
    // So few a second that none is added while the test runs.
    gateway().faults.limitConnections({ perSecond: 0.001, burst: 2 })
    await logIn()
    await logIn()
    expect(await rejectionOf(logIn())).toMatchObject({
      code: '53400',
      message: 'Unable to accept connection, rate exceeded.',
    })
  })
})

function openClient(gateway: Gateway): Client {
  const client = new Client(pgSettings(gateway))
  client.on('error', () => {})
  return client
}

/** Resolves when the gateway has seen the end of every session. */
async function noSession(gateway: Gateway): Promise<void> {
  while (gateway.faults.sessions().length > 0) await new Promise((resolve) => setImmediate(resolve))
}
