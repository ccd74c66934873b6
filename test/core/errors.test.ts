import { inspect } from 'node:util'
import { PgIamError, isPgIamError, type PgIamErrorCode } from '../../core/index.js'

describe('PgIamError', () => {
  it('has a code, a hint, retryable, and the original cause', () => {
    const cause = new Error('original')
    const error = new PgIamError('ERR_TOKEN_TIMEOUT', 'too slow', {
      cause,
      hint: 'Wait.',
      retryable: true,
    })
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      name: 'PgIamError',
      code: 'ERR_TOKEN_TIMEOUT',
      message: 'too slow',
      hint: 'Wait.',
      retryable: true,
    })
    expect(error.cause).toBe(cause)
    expect(String(error)).toBe('PgIamError: too slow')
  })

  it('is not retryable by default, and prints neither a hint nor a cause if there is none', () => {
    const error = new PgIamError('ERR_CLOSED', 'closed')
    expect(error.retryable).toBe(false)
    expect('cause' in error).toBe(false)
    expect('hint' in error).toBe(false)
    expect(inspect(error)).not.toContain('undefined')
  })

  it.each([undefined, null, 'text', 0])('keeps the cause %p', (cause) => {
    const error = new PgIamError('ERR_CLOSED', 'closed', { cause })
    expect(Object.hasOwn(error, 'cause') && error.cause === cause).toBe(true)
  })
})

describe('isPgIamError', () => {
  const error = new PgIamError('ERR_TLS_UNVERIFIED', 'x')

  it('recognises a PgIamError by its code', () => {
    expect(isPgIamError(error)).toBe(true)
    expect(isPgIamError(error, 'ERR_TLS_UNVERIFIED')).toBe(true)
    expect(isPgIamError(error, 'ERR_CLOSED')).toBe(false)
  })

  it.each([
    undefined,
    null,
    'ERR_CLOSED',
    5,
    {},
    [],
    () => error,
    new Error('x', { cause: error }),
    Object.assign(new Error('x'), { code: 'ERR_CLOSED' as PgIamErrorCode, name: 'PgIamError' }),
  ])('returns false for %p', (value) => {
    expect(isPgIamError(value)).toBe(false)
    expect(isPgIamError(value, 'ERR_CLOSED')).toBe(false)
  })
})
