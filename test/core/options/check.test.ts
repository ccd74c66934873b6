import { isIP } from 'node:net'
import * as fc from 'fast-check'
import { isPgIamError, type PgIamError } from '../../../core/index.js'
import {
  boolean,
  checkOptions,
  describeKind,
  describeValue,
  functionOf,
  hostName,
  integerWithin,
  isIpAddress,
  nearestName,
  numberWithin,
  oneOf,
  port,
  text,
  unknownOption,
} from '../../../core/options/check.js'
import { thrownBy } from '../support/caught.js'
import { CREDENTIALS } from '../support/dsql-options.js'

describe('text', () => {
  it.each(['app', 'a b', 'größe', '日本語', "o'brien", 'x'.repeat(1_000)])(
    'accepts %j',
    (value) => {
      expect(text(value, 'user')).toBe(value)
    },
  )

  it.each(['', 'a\0b', 'a\nb', 'a\rb', '\u007f', 5, null, undefined, [], {}])(
    'rejects %j',
    (value) => {
      expect(() => text(value, 'user')).toThrow(
        expect.objectContaining({
          code: 'ERR_OPTION_INVALID',
          message: expect.stringMatching(
            /^"user" must be a non-empty string without control characters, got /,
          ),
        }),
      )
    },
  )
})

describe('hostName', () => {
  it.each([
    ['db.example.com', 'db.example.com'],
    ['DB.Example.COM', 'db.example.com'],
    ['db.example.com.', 'db.example.com'],
    ['localhost', 'localhost'],
    ['_srv.example', '_srv.example'],
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '::1'],
    ['2001:DB8::1', '2001:db8::1'],
  ])('accepts %s as %s', (given, kept) => {
    expect(hostName(given, 'host')).toBe(kept)
  })

  it.each([
    '',
    '.',
    ':',
    '::::',
    '[::1]',
    'a..b',
    '-a',
    'a-',
    'a b',
    'a/b',
    '/var/run/postgresql',
    'a,b',
    'a:5432',
    'https://a',
    'user@a',
    'a\n',
    'a\0',
    'x'.repeat(254),
    5,
    null,
    ['a'],
  ])('rejects %j', (given) => {
    expect(() => hostName(given, 'host')).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(
          /^"host" must be a host name without scheme, port or path, got /,
        ),
      }),
    )
  })

  it('never returns an empty name, or one that it would reject itself', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.domain(),
          fc.ipV4(),
          fc.ipV6(),
          fc.string({ unit: fc.constantFrom('a', '.', ':', '-') }),
        ),
        (given) => {
          let kept: string
          try {
            kept = hostName(given, 'host')
          } catch (error) {
            return isPgIamError(error, 'ERR_OPTION_INVALID')
          }
          return kept !== '' && hostName(kept, 'host') === kept
        },
      ),
    )
  })
})

describe('port', () => {
  it.each([
    [1, 1],
    [65_535, 65_535],
    ['5432', 5432],
  ])('accepts %j as %d', (given, kept) => {
    expect(port(given, 'port')).toBe(kept)
  })

  it.each([
    0,
    -1,
    65_536,
    1.5,
    NaN,
    Infinity,
    '',
    '0',
    '65536',
    ' 5432',
    '5432 ',
    '1e3',
    '0x10',
    '+1',
    5432n,
    [5432],
    null,
    true,
  ])('rejects %p', (given) => {
    expect(() => port(given, 'port')).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(/^"port" must be an integer from 1 to 65535, got /),
      }),
    )
  })
})

describe('numberWithin and integerWithin', () => {
  it('accept both ends of their range', () => {
    expect([0, 0.5, 10].map((value) => numberWithin(0, 10, 'seconds')(value, 'x'))).toEqual([
      0, 0.5, 10,
    ])
    expect([0, 10].map((value) => integerWithin(0, 10, 'seconds')(value, 'x'))).toEqual([0, 10])
  })

  it.each([-0.001, 10.001, NaN, Infinity, -Infinity, '5', 5n, null, true, new Date(5)])(
    'reject %p',
    (given) => {
      expect(() => numberWithin(0, 10, 'seconds')(given, 'x')).toThrow(
        /^"x" must be a number of seconds from 0 to 10, got /,
      )
      expect(() => integerWithin(0, 10, 'seconds')(given, 'x')).toThrow(
        /^"x" must be an integer of seconds from 0 to 10, got /,
      )
    },
  )

  it('differ in accepting fractions', () => {
    expect(() => integerWithin(0, 10, 'seconds')(0.5, 'x')).toThrow('got 0.5')
  })
})

describe('oneOf, boolean and functionOf', () => {
  it.each([
    [oneOf('a', 'b'), 'a', 'c', '"x" must be "a" or "b", got "c"'],
    [boolean, false, 'false', '"x" must be true or false, got "false"'],
    [functionOf<() => void>(), Date.now, {}, '"x" must be a function, got an object'],
  ])('accept valid values and reject invalid ones', (check, right, wrong, message) => {
    expect(check(right, 'x')).toBe(right)
    expect(() => check(wrong, 'x')).toThrow(message)
  })
})

describe('checkOptions', () => {
  const checks = { user: text, port }

  it('keeps valid values, and drops keys with the value undefined', () => {
    const checked = checkOptions({ user: 'app', port: undefined }, checks)
    expect(Object.entries(checked)).toEqual([['user', 'app']])
  })

  it('reads each key only once', () => {
    let reads = 0
    const given = {
      get user() {
        return `app${++reads}`
      },
    }
    expect(checkOptions(given, checks)).toEqual({ user: 'app1' })
  })

  it('does not change the given object', () => {
    const given = Object.freeze({ user: 'app', port: '5432' })
    expect(checkOptions(given, checks)).toEqual({ user: 'app', port: 5432 })
    expect(given).toEqual({ user: 'app', port: '5432' })
  })

  it('accepts an object without a prototype, and an instance of a class', () => {
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
  ])('rejects %s in place of an options object', (_label, given) => {
    expect(() => checkOptions(given, checks)).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(/^"options" must be an object, got /),
      }),
    )
  })

  it('rejects an unknown key even if its value is undefined', () => {
    expect(() => checkOptions({ usr: undefined }, checks)).toThrow('"usr" is not a known option')
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'rejects the key %s, which every object inherits',
    (key) => {
      const given = JSON.parse(`{"${key}": 1}`) as object
      expect(() => checkOptions(given, checks)).toThrow(`"${key}" is not a known option`)
    },
  )

  it('adds the prefix to the name and to the suggestion', () => {
    const error = thrownBy(() => checkOptions({ prot: 1 }, checks, 'connectTo.')) as PgIamError
    expect(error.message).toBe('"connectTo.prot" is not a known option')
    expect(error.hint).toBe('Did you mean "connectTo.port"?')
  })
})

describe('unknownOption', () => {
  it('lists the known options if none is similar', () => {
    expect(unknownOption('zzzzzz', ['user', 'port']).hint).toBe('Known options: user, port.')
  })
})

describe('isIpAddress', () => {
  it('agrees with node:net for any string', () => {
    const almost = fc.string({ unit: fc.constantFrom('1', '255', '.', ':', 'f', '%', 'lo', 'z') })
    const text = fc.oneof(fc.ipV4(), fc.ipV6(), fc.ipV4Extended(), fc.domain(), almost, fc.string())
    fc.assert(
      fc.property(text, (host) => {
        expect(isIpAddress(host)).toBe(isIP(host) !== 0)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('nearestName', () => {
  const known = ['host', 'port', 'user', 'username', 'tokenDurationSecs', 'reuseTokenSecs']

  it.each([
    ['hots', 'host'],
    ['hst', 'host'],
    ['Host', 'host'],
    ['prot', 'port'],
    ['usr', 'user'],
    ['userName', 'username'],
    ['tokenDuration', 'tokenDurationSecs'],
    ['reuseTokenSeconds', 'reuseTokenSecs'],
    ['sett', undefined],
    ['password', undefined],
    ['', undefined],
  ])('suggests for %j: %j', (name, nearest) => {
    expect(nearestName(name, known)).toBe(nearest)
  })

  it('suggests each known name for itself', () => {
    for (const name of known) expect(nearestName(name, known)).toBe(name)
  })

  it('suggests a name of four letters or more if one letter is missing', () => {
    fc.assert(
      fc.property(fc.constantFrom(...known), fc.nat(), (name, at) => {
        const cut = at % name.length
        expect(nearestName(name.slice(0, cut) + name.slice(cut + 1), [name])).toBe(name)
      }),
    )
  })
})

describe('describeValue', () => {
  it.each([
    ['text', '"text"'],
    ['', '""'],
    ['a\n"b"', '"a\\n\\"b\\""'],
    ['x '.repeat(30), `"${'x '.repeat(30)}"`],
    ['x '.repeat(30) + 'x', 'a string of 61 characters'],
    ['postgres://user:secret@'.repeat(50_000), 'a string of 1150000 characters'],
    [1.5, '1.5'],
    [NaN, 'NaN'],
    [-0, '0'],
    [12n, '12n'],
    [true, 'true'],
    [null, 'null'],
    [undefined, 'undefined'],
    [Symbol('secret'), 'a symbol'],
    [() => 'secret', 'a function'],
    [['secret'], 'an array of 1'],
    [{ secret: 'secret' }, 'an object'],
    [new Date(0), 'a Date'],
    [new Date(NaN), 'an invalid Date'],
    [Buffer.from('secret'), 'an object'],
    [new Error('secret'), 'an object'],
    [Object('secret'), 'an object'],
  ])('renders %p as %s', (value, text) => {
    expect(describeValue(value)).toBe(text)
  })

  it.each([
    'x?Action=DbConnect&X-Amz-Signature=abc',
    'x&x-amz-security-token=abc',
    'eyJhbGciOi.eyJzdWIi.c2ln',
    'postgres://user:secret@host/db',
    'postgres://user:se/cr?et@host/db',
    'postgres://user:se@cret@host/db',
    'postgres://secret@host/db',
    'user:secret@host',
    'host=db user=app password=secret',
    'Password = secret',
    '-----BEGIN PRIVATE KEY-----',
    CREDENTIALS.secretAccessKey,
    `${CREDENTIALS.secretAccessKey}\n`,
  ])('does not render %j', (value) => {
    expect(describeValue(value)).toBe('a string that may hold a secret')
  })

  it('renders any value as one short line', () => {
    fc.assert(
      fc.property(fc.anything({ withDate: true, withBigInt: true, withMap: true }), (value) => {
        fc.pre(typeof value !== 'bigint' && typeof value !== 'number')
        const text = describeValue(value)
        return text.length <= 6 * 60 + 2 && !/[\n\r\0]/.test(text)
      }),
    )
  })
})

describe('describeKind', () => {
  it.each([
    ['secret', 'a string of 6 characters'],
    ['', 'an empty string'],
    [undefined, 'undefined'],
    [5, 'a number'],
    [5n, 'a bigint'],
    [true, 'a boolean'],
    [{ secret: 1 }, 'an object'],
  ])('describes %p only as %s', (value, text) => {
    expect(describeKind(value)).toBe(text)
  })
})
