import { logger } from '../../core/logger.js'

describe('logger', () => {
  const silent = { debug() {}, info() {}, warn() {}, error() {} }
  class Winston {
    debug(): void {}
    info(): void {}
    warn(): void {}
    error(): void {}
  }

  it.each([
    ['console', console],
    ['an object of functions', silent],
    ['an instance of a class', new Winston()],
    ['a function with methods', Object.assign(() => {}, silent)],
  ])('takes %s as it is', (_label, value) => {
    expect(logger(value, 'logger')).toBe(value)
  })

  it.each([
    ['undefined', undefined],
    ['null', null],
    ['a function', () => {}],
    ['an object without "warn"', { ...silent, warn: undefined }],
    ['a string', 'console'],
  ])('refuses %s', (_label, value) => {
    expect(() => logger(value, 'logger')).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_INVALID',
        message: expect.stringMatching(
          /^"logger" must be an object with debug, info, warn and error functions, got /,
        ),
      }),
    )
  })
})
