import { CHANGED_MIND, causeOf } from '../../../bench/soak/causes.js'
import { PgIamError } from '../../../core/index.js'

const withCode = (code: string): Error => Object.assign(new Error('it failed'), { code })

describe('the cause of a failed call', () => {
  it.each([
    ['of the application', withCode(CHANGED_MIND), CHANGED_MIND],
    ['of the server', withCode('57P01'), '57P01'],
    ['of the network', new Error('wrapped', { cause: withCode('ECONNRESET') }), 'ECONNRESET'],
    [
      'of a driver',
      new Error('insert into "note" - Connection terminated unexpectedly'),
      'Connection terminated unexpectedly',
    ],
    [
      'that nobody knows the outcome',
      new PgIamError('ERR_OUTCOME_UNKNOWN', 'unknown', { cause: withCode('57P01') }),
      'ERR_OUTCOME_UNKNOWN',
    ],
  ])('is expected where it is %s', (_what, error, name) => {
    expect(causeOf(error)).toEqual({ name, isExpected: true })
  })

  it.each([
    ['a conflict that was not retried', withCode('40001'), '40001'],
    ['a transaction that another one has broken', withCode('25P02'), '25P02'],
    ['a refused token', withCode('28000'), '28000'],
    ['one without a code', new TypeError('x is not a function'), 'x is not a function'],
    ['no error at all', 'gone', 'gone'],
  ])('is not expected where it is %s', (_what, error, name) => {
    expect(causeOf(error)).toEqual({ name, isExpected: false })
  })
})
