import { checkOptions, port, text, unknownOption } from '../../../core/options/check.js'
import type { PgIamError } from '../../../core/index.js'
import { thrownBy } from '../support/caught.js'

describe('checkOptions', () => {
  const checks = { user: text, port }

  it('keeps what passes, and leaves out keys that hold undefined', () => {
    const checked = checkOptions({ user: 'app', port: undefined }, checks)
    expect(Object.entries(checked)).toEqual([['user', 'app']])
  })

  it('reads each key once', () => {
    let reads = 0
    const given = {
      get user() {
        return `app${++reads}`
      },
    }
    expect(checkOptions(given, checks)).toEqual({ user: 'app1' })
  })

  it('leaves the given object as it was', () => {
    const given = Object.freeze({ user: 'app', port: '5432' })
    expect(checkOptions(given, checks)).toEqual({ user: 'app', port: 5432 })
    expect(given).toEqual({ user: 'app', port: '5432' })
  })

  it('takes an object without a prototype, and an instance of a class', () => {
    class Settings {
      user = 'app'
    }
    expect(checkOptions(Object.assign(Object.create(null), { user: 'app' }), checks)).toEqual({
      user: 'app',
    })
    expect(checkOptions(new Settings(), checks)).toEqual({ user: 'app' })
  })

  it.each([
    ['null', null],
    ['a string', 'user=app'],
    ['an array', [{ user: 'app' }]],
    ['a function', () => ({ user: 'app' })],
    ['a Map', new Map([['user', 'app']])],
    ['a Date', new Date()],
    ['a promise', Promise.resolve({ user: 'app' })],
  ])('refuses %s in the place of the options', (_label, given) => {
    expect(() => checkOptions(given, checks)).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(/^"options" must be an object, got /),
      }),
    )
  })

  it('refuses an unknown key even when it holds undefined', () => {
    expect(() => checkOptions({ usr: undefined }, checks)).toThrow('"usr" is not a known option')
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'refuses the key %s, which every object seems to know',
    (key) => {
      const given = JSON.parse(`{"${key}": 1}`) as object
      expect(() => checkOptions(given, checks)).toThrow(`"${key}" is not a known option`)
    },
  )

  it('puts the prefix before the name and before the suggestion', () => {
    const error = thrownBy(() => checkOptions({ prot: 1 }, checks, 'connectTo.')) as PgIamError
    expect(error.message).toBe('"connectTo.prot" is not a known option')
    expect(error.hint).toBe('Did you mean "connectTo.port"?')
  })
})

describe('unknownOption', () => {
  it('lists what is known where nothing is near', () => {
    expect(unknownOption('zzzzzz', ['user', 'port']).hint).toBe('Known are: user, port.')
  })
})
