import * as fc from 'fast-check'
import {
  boolean,
  functionOf,
  hostName,
  integerWithin,
  numberWithin,
  oneOf,
  port,
  text,
} from '../../../core/options/check.js'
import { isPgIamError } from '../../../core/index.js'

describe('text', () => {
  it.each(['app', 'a b', 'größe', '日本語', "o'brien", 'x'.repeat(1_000)])('takes %j', (value) => {
    expect(text(value, 'user')).toBe(value)
  })

  it.each(['', 'a\0b', 'a\nb', 'a\rb', '\u007f', 5, null, undefined, [], {}])(
    'refuses %j',
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
  ])('takes %s as %s', (given, kept) => {
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
  ])('refuses %j', (given) => {
    expect(() => hostName(given, 'host')).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(
          /^"host" must be a host name without scheme, port or path, got /,
        ),
      }),
    )
  })

  it('never gives an empty name or one that a second check refuses', () => {
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
  ])('takes %j as %d', (given, kept) => {
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
  ])('refuses %p', (given) => {
    expect(() => port(given, 'port')).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(/^"port" must be an integer from 1 to 65535, got /),
      }),
    )
  })
})

describe('numberWithin and integerWithin', () => {
  it('take both ends of their range', () => {
    expect([0, 0.5, 10].map((value) => numberWithin(0, 10, 'seconds')(value, 'x'))).toEqual([
      0, 0.5, 10,
    ])
    expect([0, 10].map((value) => integerWithin(0, 10, 'seconds')(value, 'x'))).toEqual([0, 10])
  })

  it.each([-0.001, 10.001, NaN, Infinity, -Infinity, '5', 5n, null, true, new Date(5)])(
    'refuse %p',
    (given) => {
      expect(() => numberWithin(0, 10, 'seconds')(given, 'x')).toThrow(
        /^"x" must be a number of seconds from 0 to 10, got /,
      )
      expect(() => integerWithin(0, 10, 'seconds')(given, 'x')).toThrow(
        /^"x" must be an integer of seconds from 0 to 10, got /,
      )
    },
  )

  it('differ in fractions', () => {
    expect(() => integerWithin(0, 10, 'seconds')(0.5, 'x')).toThrow('got 0.5')
  })
})

describe('oneOf, boolean and functionOf', () => {
  it.each([
    [oneOf('a', 'b'), 'a', 'c', '"x" must be "a" or "b", got "c"'],
    [boolean, false, 'false', '"x" must be true or false, got "false"'],
    [functionOf<() => void>(), Date.now, {}, '"x" must be a function, got an object'],
  ])('take and refuse', (check, right, wrong, message) => {
    expect(check(right, 'x')).toBe(right)
    expect(() => check(wrong, 'x')).toThrow(message)
  })
})
