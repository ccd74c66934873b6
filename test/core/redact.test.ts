import * as fc from 'fast-check'
import { describeKind, describeValue } from '../../core/redact.js'
import { CREDENTIALS } from './support/dsql-options.js'

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
  ])('shows %p as %s', (value, text) => {
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
  ])('does not show %j', (value) => {
    expect(describeValue(value)).toBe('a string that may hold a secret')
  })

  it('gives one short line for anything', () => {
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
  ])('says of %p only that it is %s', (value, text) => {
    expect(describeKind(value)).toBe(text)
  })
})
