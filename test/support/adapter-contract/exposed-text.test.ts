import { exposedText } from './exposed-text.js'

describe('exposedText', () => {
  const nested = (depth: number): object =>
    depth === 0 ? { password: 'CANARY' } : { next: nested(depth - 1) }

  it.each<[string, unknown]>([
    ['a deep property', nested(10)],
    ['a hidden property', Object.defineProperty({}, 'hidden', { value: 'CANARY' })],
    ['the property of a symbol', { [Symbol('key')]: ['CANARY'] }],
    ['a property of a function', Object.assign(() => {}, { token: 'CANARY' })],
    ['a map and a set', new Map([['key', new Set(['CANARY'])]])],
    [
      'the message of an error that is a cause',
      new Error('failed', { cause: new Error('CANARY') }),
    ],
    ['the result of toJSON', { toJSON: () => 'CANARY' }],
    [
      'an object that refers to itself',
      (() => {
        const one: Record<string, unknown> = { password: 'CANARY' }
        one['self'] = one
        return { one }
      })(),
    ],
  ])('contains %s', (_what, value) => {
    expect(exposedText(value)).toContain('CANARY')
  })
})
