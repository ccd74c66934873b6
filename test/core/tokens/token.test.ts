import { inspect } from 'node:util'
import { createToken } from '../../../core/tokens/token.js'
import { printed } from '../support/printed.js'

describe('createToken', () => {
  const expiresAt = new Date('2026-01-02T03:04:05Z')
  const token = createToken('CANARY', expiresAt, 'app')

  it('has a value, an end and, where the issuer names it, a user', () => {
    expect([token.value, token.expiresAt, token.user]).toEqual(['CANARY', expiresAt, 'app'])
    expect(createToken('x', expiresAt)).not.toHaveProperty('user')
  })

  it('hides its value from everything that prints or copies', () => {
    expect(printed(token)).not.toContain('CANARY')
    expect(inspect({ nested: [token] }, { depth: 10, showHidden: true })).not.toContain('CANARY')
    expect(printed(structuredClone({ ...token }))).not.toContain('CANARY')
    expect([token as unknown, ...Object.values(token)].join()).not.toContain('CANARY')
    expect(JSON.parse(JSON.stringify(token))).toEqual({
      expiresAt: '2026-01-02T03:04:05.000Z',
      user: 'app',
    })
  })

  it('tells its end when it is printed', () => {
    expect(inspect(token)).toBe('Token { expires 2026-01-02T03:04:05.000Z }')
    expect(inspect(createToken('x', new Date(NaN)))).toBe('Token { expires at an unknown time }')
  })

  it('cannot be changed, and does not follow changes of the date', () => {
    expect(Object.isFrozen(token)).toBe(true)
    const given = new Date(1_000)
    const made = createToken('x', given)
    given.setTime(5_000)
    made.expiresAt.setTime(9_000)
    expect(made.expiresAt.getTime()).toBe(1_000)
  })
})
