import { Client } from 'pg'
import { isPgIamError } from '../../../core/index.js'
import { createConnectionLimiter, createFaults } from '../../../gateway/faults/faults.js'
import type { Gateway, GatewayFaults } from '../../../gateway/index.js'
import { thrownBy } from '../../core/support/caught.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { pgSettings, withClient } from '../engines/checks/gateway-clients.js'
import { openPlain } from '../raw-client.js'
import { describeOnEachEngine } from './fault-gateways.js'

describeOnEachEngine('login faults', (gateway) => {
  const logIn = (): Promise<void> => withClient(gateway(), async () => {})
  const refusals = async (count: number): Promise<unknown[]> => {
    const errors: unknown[] = []
    for (let index = 0; index < count; index++) errors.push(await rejectionOf(logIn()))
    return errors
  }

  it('refuse the given number of logins with the given error', async () => {
    gateway().faults.rejectLogins({ times: 2, sqlState: '28000', message: 'not today' })
    gateway().faults.rejectLogins()
    expect(await refusals(3)).toEqual([
      expect.objectContaining({ code: '28000', message: 'not today', severity: 'FATAL' }),
      expect.objectContaining({ code: '28000', message: 'not today' }),
      expect.objectContaining({ code: '53300' }),
    ])
    await logIn()
  })

  it('count as refusals with their reason', async () => {
    const before = gateway().stats().refusals.fault ?? 0
    gateway().faults.rejectLogins()
    await refusals(1)
    expect(gateway().stats().refusals.fault).toBe(before + 1)
  })

  it('delay logins until they are released', async () => {
    const { loginsAccepted } = gateway().stats()
    const release = gateway().faults.stallLogins()
    const held = logIn()
    // A later login is not delayed, and finishes first.
    await logIn()
    expect(gateway().stats().loginsAccepted).toBe(loginsAccepted + 1)
    release()
    await held
    expect(gateway().stats().loginsAccepted).toBe(loginsAccepted + 2)
  })

  it('delay logins until all faults are cleared', async () => {
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

  it('cut a connection after its token was received, without an error', async () => {
    gateway().faults.cut({ at: 'authentication', times: 2 })
    for (const error of await refusals(2))
      expect((error as Error).message).toBe('Connection terminated unexpectedly')
    await logIn()
  })

  it('limit open sessions, including pending logins', async () => {
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
    // Failed logins do not count.
    await logIn()
    gateway().faults.limitConnections(undefined)
    await Promise.all([logIn(), logIn(), logIn()])
  })

  it('limit the rate of new sessions after a burst', async () => {
    // So low a rate that no session is added during the test.
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

/** Resolves when the gateway has handled the end of every session. */
async function noSession(gateway: Gateway): Promise<void> {
  while (gateway.faults.sessions().length > 0) await new Promise((resolve) => setImmediate(resolve))
}

const { faults } = createFaults(Date.now)

type Call = (given: never) => unknown

describe('the options of gateway.faults', () => {
  it.each<[keyof GatewayFaults, unknown, string]>([
    ['rejectLogins', { times: 0 }, 'times'],
    ['rejectLogins', { times: 1.5 }, 'times'],
    ['rejectLogins', { sqlState: '5330' }, 'sqlState'],
    ['rejectLogins', { sqlState: '5330x' }, 'sqlState'],
    ['rejectLogins', { message: 7 }, 'message'],
    ['rejectLogins', { code: '53300' }, 'code'],
    ['stallLogins', { times: -1 }, 'times'],
    ['cut', {}, 'at'],
    ['cut', { at: 'tls' }, 'at'],
    ['cut', { at: 'statement', times: '2' }, 'times'],
    ['raiseConflicts', { at: 'begin' }, 'at'],
    ['raiseConflicts', { code: '40001' }, 'code'],
    ['raiseConflicts', { probability: 1.1 }, 'probability'],
    ['raiseConflicts', { probability: Number.NaN }, 'probability'],
    ['raiseConflicts', { probability: 0.5, times: 2 }, 'times'],
    ['endSessionsAt', 0, 'ageMs'],
    ['endSessionsAt', '5s', 'ageMs'],
    ['limitConnections', { max: -1 }, 'max'],
    ['limitConnections', { perSecond: 0 }, 'perSecond'],
    ['limitConnections', { burst: 0 }, 'burst'],
    ['limitConnections', { rate: 100 }, 'rate'],
  ])('of %s reject %p and name the option', (name, given, option) => {
    const error = thrownBy(() => (faults[name] as Call)(given as never))
    expect(isPgIamError(error, 'ERR_OPTION_INVALID')).toBe(true)
    expect((error as Error).message).toContain(`"${option}"`)
  })

  it.each<keyof GatewayFaults>(['rejectLogins', 'stallLogins', 'cut', 'raiseConflicts'])(
    'of %s must be an object',
    (name) => {
      const error = thrownBy(() => (faults[name] as Call)('often' as never))
      expect(isPgIamError(error, 'ERR_OPTION_INVALID')).toBe(true)
    },
  )
})

/** A limiter with a clock that the test sets. */
function limiter(limits: Parameters<typeof createConnectionLimiter>[0]): {
  admitted: (openSessions?: number) => string
  pass: (ms: number) => void
} {
  let time = 1_000
  const { admit } = createConnectionLimiter(limits, () => time)
  return {
    admitted: (openSessions = 0) => admit(openSessions)?.sqlState ?? 'in',
    pass: (ms) => void (time += ms),
  }
}

describe('createConnectionLimiter', () => {
  it('allows the maximum number of open sessions', () => {
    const { admitted } = limiter({ max: 2 })
    expect([0, 1, 2, 3].map((open) => admitted(open))).toEqual(['in', 'in', '53300', '53300'])
  })

  it('allows a burst, and then sessions at the given rate', () => {
    const { admitted, pass } = limiter({ perSecond: 10, burst: 3 })
    expect([1, 2, 3, 4].map(() => admitted())).toEqual(['in', 'in', 'in', '53400'])
    pass(99)
    expect(admitted()).toBe('53400')
    pass(1)
    expect([1, 2].map(() => admitted())).toEqual(['in', '53400'])
    // Idle time adds no more than the burst.
    pass(60_000)
    expect([1, 2, 3, 4].map(() => admitted())).toEqual(['in', 'in', 'in', '53400'])
  })

  it('allows a burst of one second by default', () => {
    const { admitted } = limiter({ perSecond: 2 })
    expect([1, 2, 3].map(() => admitted())).toEqual(['in', 'in', '53400'])
  })

  it('does not count a session that exceeds the maximum towards the rate', () => {
    const { admitted } = limiter({ max: 1, perSecond: 1, burst: 1 })
    expect(admitted(1)).toBe('53300')
    expect(admitted(0)).toBe('in')
  })
})
