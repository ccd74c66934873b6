import { auroraDsql } from '../../core/index.js'
import { login } from '../../core/check-login.js'
import { thrownBy } from './support/caught.js'
import { OPTIONS } from './support/dsql-options.js'

describe('the check of a login', () => {
  it('takes a login, and an object that was made of one', () => {
    const made = auroraDsql(OPTIONS)
    const copy = { ...made }
    expect(login(made, 'read')).toBe(made)
    expect(login(copy, 'read')).toBe(copy)
  })

  it.each<[unknown, string]>([
    ['db.example.com', 'got "db.example.com"'],
    [undefined, 'got undefined'],
    [{ host: 'db.example.com' }, 'got an object'],
    [{ host: 'db.example.com', tls: {} }, 'got an object'],
    [{ token: () => undefined }, 'got an object'],
    [auroraDsql, 'got a function'],
  ])('refuses %p', (value, got) => {
    expect(thrownBy(() => login(value, 'read'))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: `"read" must be a login, such as rds() returns, ${got}`,
    })
  })
})
