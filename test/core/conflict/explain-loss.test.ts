import { explainedBy } from '../../../core/conflict/explain-loss.js'

const LOSS = Object.assign(new Error('terminating connection'), { code: '57P01' })

describe('explainedBy', () => {
  it.each([
    'Client has encountered a connection error and is not queryable',
    'insert into "a" - Connection terminated unexpectedly',
    'Query runner already released. Cannot run queries anymore.',
  ])(
    'gives an error that only says that the connection is gone the reason as its cause: %s',
    (text) => {
      const error = new Error(text)
      expect(explainedBy(LOSS, error)).toBe(error)
      expect(error.cause).toBe(LOSS)
      expect(Object.keys(error)).toEqual([])
    },
  )

  it('gives it to the innermost cause of an error that wraps one', () => {
    const inner = new Error('Client has encountered a connection error and is not queryable')
    const error = new Error('Failed query: rollback', { cause: inner })
    expect(explainedBy(LOSS, error)).toBe(error)
    expect([error.cause, inner.cause]).toEqual([inner, LOSS])
  })

  it('ends on errors that wrap each other', () => {
    const circular = new Error('Connection terminated unexpectedly')
    circular.cause = circular
    expect(explainedBy(LOSS, circular)).toBe(circular)
  })

  it.each<[string, unknown]>([
    ['has a cause', new Error('not queryable', { cause: 'y' })],
    ['says something else', new Error('out of stock')],
    ['has a SQLSTATE', Object.assign(new Error('x'), { code: '23505' })],
    ['is frozen', Object.freeze(new Error('not queryable'))],
    ['is the reason itself', LOSS],
    ['is no object', 'x'],
    ['is undefined', undefined],
  ])('leaves alone what %s', (_label, error) => {
    const before = (error as { cause?: unknown } | undefined)?.cause
    expect(explainedBy(LOSS, error)).toBe(error)
    expect((error as { cause?: unknown } | undefined)?.cause).toBe(before)
  })

  it('leaves everything alone where no connection was lost', () => {
    const error = new Error('x')
    expect(explainedBy(undefined, error)).toBe(error)
    expect('cause' in error).toBe(false)
  })
})
