import * as fc from 'fast-check'
import { isOccConflict } from '../../../core/index.js'
import { sqlStateOf } from '../../../core/transactions/is-occ-conflict.js'

const coded = (code: string): Error => Object.assign(new Error('x'), { code })
const CONFLICT = coded('40001')

describe('isOccConflict', () => {
  it.each(['40001', 'OC000', 'OC001', 'P2034'])('recognises %s', (code) => {
    expect(isOccConflict(coded(code))).toBe(true)
    expect(isOccConflict({ originalCode: code })).toBe(true)
  })

  it.each<[string, unknown]>([
    ['cause', new Error('x', { cause: CONFLICT })],
    ['parent', Object.assign(new Error('x'), { parent: CONFLICT, original: CONFLICT })],
    ['driverError', Object.assign(new Error('x'), { driverError: CONFLICT })],
    ['driverAdapterError', { meta: { driverAdapterError: { cause: { originalCode: '40001' } } } }],
    ['errors', new AggregateError([new Error('x'), CONFLICT])],
    ['several', new Error('x', { cause: new Error('y', { cause: { parent: CONFLICT } }) })],
  ])('recognises a conflict wrapped as %s', (_label, error) => {
    expect(isOccConflict(error)).toBe(true)
  })

  it.each<[string, unknown]>([
    ['another SQLSTATE', coded('23505')],
    ['a deadlock', coded('40P01')],
    ['an error without code', new Error('40001')],
    ['an error with the code in its message only', new Error('conflict (OC000)')],
    ['a number', { code: 40001 }],
    ['undefined', undefined],
    ['null', null],
    ['a string', '40001'],
    ['a function', Object.assign(() => {}, { code: '40001' })],
  ])('does not recognise %s as a conflict', (_label, error) => {
    expect(isOccConflict(error)).toBe(false)
  })

  it('does not read inherited properties, which may print a warning', () => {
    const prototype = {
      get parent(): never {
        throw new Error('read')
      },
    }
    const error = Object.assign(Object.create(prototype) as object, { cause: CONFLICT })
    expect(isOccConflict(error)).toBe(true)
    expect(isOccConflict(Object.create(prototype))).toBe(false)
  })

  it('terminates on errors that wrap each other, and accepts any value', () => {
    const circular = new Error('x')
    circular.cause = new AggregateError([circular])
    expect(isOccConflict(circular)).toBe(false)
    fc.assert(fc.property(fc.anything(), (value) => typeof isOccConflict(value) === 'boolean'))
  })
})

describe('sqlStateOf', () => {
  it.each<[unknown, string | undefined]>([
    [coded('23505'), '23505'],
    [new Error('x', { cause: coded('57P01') }), '57P01'],
    [Object.assign(new Error('x', { cause: coded('57P01') }), { code: '08006' }), '57P01'],
    [coded('ECONNRESET'), undefined],
    [coded('EPIPE'), undefined],
    [coded('XX000'), 'XX000'],
    [coded('P0001'), 'P0001'],
    [Object.assign(coded('P1017'), { meta: undefined }), undefined],
    // A code that an application raises with RAISE USING ERRCODE.
    [coded('P1234'), 'P1234'],
    [
      { code: 'P2010', meta: { driverAdapterError: { cause: { originalCode: '57P01' } } } },
      '57P01',
    ],
    [new Error('x'), undefined],
    [undefined, undefined],
  ])('returns for %p: %s', (error, state) => {
    expect(sqlStateOf(error)).toBe(state)
  })
})
