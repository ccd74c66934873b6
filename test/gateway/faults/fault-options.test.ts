import { isPgIamError } from '../../../core/index.js'
import { createFaults } from '../../../gateway/faults/faults.js'
import type { GatewayFaults } from '../../../gateway/index.js'
import { thrownBy } from '../../core/support/caught.js'

const { faults } = createFaults(Date.now)

type Call = (given: never) => unknown

describe('the options of faults', () => {
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
  ])('%s refuses %p, by its name', (name, given, option) => {
    const error = thrownBy(() => (faults[name] as Call)(given as never))
    expect(isPgIamError(error, 'ERR_OPTION_INVALID')).toBe(true)
    expect((error as Error).message).toContain(`"${option}"`)
  })

  it.each<keyof GatewayFaults>(['rejectLogins', 'stallLogins', 'cut', 'raiseConflicts'])(
    '%s refuses what is no object',
    (name) => {
      const error = thrownBy(() => (faults[name] as Call)('often' as never))
      expect(isPgIamError(error, 'ERR_OPTION_INVALID')).toBe(true)
    },
  )
})
