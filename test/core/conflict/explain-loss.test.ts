import { explainedBy } from '../../../core/conflict/explain-loss.js'

const LOSS = Object.assign(new Error('terminating connection'), { code: '57P01' })

describe('explainedBy', () => {
  it('gives an error that says nothing of the server the reason as its cause', () => {
    const error = new Error('Client has encountered a connection error and is not queryable')
    expect(explainedBy(LOSS, error)).toBe(error)
    expect(error.cause).toBe(LOSS)
    expect(Object.keys(error)).toEqual([])
  })

  it.each<[string, unknown]>([
    ['has a cause', new Error('x', { cause: 'y' })],
    ['has a SQLSTATE', Object.assign(new Error('x'), { code: '23505' })],
    ['is frozen', Object.freeze(new Error('x'))],
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
