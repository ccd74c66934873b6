import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createReporter, type EventsByChannel, logger, publish } from '../../core/events.js'
import type { Logger } from '../../core/index.js'

const EVENT = { provider: 'aurora-dsql', host: 'h', user: 'app', expiresAt: new Date(0) } as const
const NAMES: (keyof EventsByChannel)[] = [
  'pg-iam:token.made',
  'pg-iam:token.reused',
  'pg-iam:token.failed',
  'pg-iam:connection.opened',
  'pg-iam:connection.retired',
]

describe('publish', () => {
  it.each(NAMES)('publishes the event on %s', (name) => {
    const seen: unknown[] = []
    const listen = (event: unknown, on: string | symbol): void => void seen.push([on, event])
    subscribe(name, listen)
    try {
      publish(name, () => EVENT as never)
      expect(seen).toEqual([[name, EVENT]])
    } finally {
      unsubscribe(name, listen)
    }
  })

  it.each(NAMES)('does not build the event for %s without subscribers', (name) => {
    expect(channel(name).hasSubscribers).toBe(false)
    publish(name, () => {
      throw new Error('built')
    })
  })

  it('reaches subscribers of that channel only, whenever they subscribed', () => {
    const seen: unknown[] = []
    const one = (): void => void seen.push('one')
    const other = (): void => void seen.push('other')
    subscribe('pg-iam:token.reused', one)
    publish('pg-iam:token.reused', () => EVENT)
    subscribe('pg-iam:token.reused', other)
    publish('pg-iam:token.reused', () => EVENT)
    publish('pg-iam:token.failed', () => ({ ...EVENT, error: undefined }))
    unsubscribe('pg-iam:token.reused', one)
    unsubscribe('pg-iam:token.reused', other)
    expect(seen).toEqual(['one', 'one', 'other'])
  })
})

describe('createReporter', () => {
  const log: unknown[] = []
  const writer =
    (level: string) =>
    (...args: unknown[]): void =>
      void log.push([level, ...args])
  const logger: Logger = {
    debug: writer('debug'),
    info: writer('info'),
    warn: writer('warn'),
    error: writer('error'),
  }
  beforeEach(() => void log.splice(0))

  it('logs events at debug level', () => {
    createReporter(logger)('pg-iam:token.made', () => ({ ...EVENT, elapsedMs: 1 }))
    expect(log).toEqual([['debug', 'pg-iam: token made', { ...EVENT, elapsedMs: 1 }]])
  })

  it('logs failed tokens and lost connections as warnings, and nothing else', () => {
    const report = createReporter(logger)
    const error = new Error('sealed')
    report('pg-iam:token.failed', () => ({ ...EVENT, error }))
    report('pg-iam:connection.retired', () => ({ ...EVENT, connectionId: 1, ageMs: 2, error }))
    report('pg-iam:connection.retired', () => ({ ...EVENT, connectionId: 1, ageMs: 2 }))
    expect(log).toMatchObject([
      ['warn', 'pg-iam: token failed', { error }],
      ['warn', 'pg-iam: connection closed', { error }],
      ['debug', 'pg-iam: connection closed', { connectionId: 1 }],
    ])
  })

  it('also publishes events, and ignores an error of the logger', () => {
    const seen: unknown[] = []
    const listen = (event: unknown): void => void seen.push(event)
    subscribe('pg-iam:token.reused', listen)
    const throwing = (): never => {
      throw new Error('disk full')
    }
    const report = createReporter({
      debug: throwing,
      info: throwing,
      warn: throwing,
      error: throwing,
    })
    report('pg-iam:token.reused', () => EVENT)
    unsubscribe('pg-iam:token.reused', listen)
    expect(seen).toEqual([EVENT])
  })

  it('only publishes without a logger', () => {
    expect(createReporter(undefined)).toBe(publish)
  })
})

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
  ])('accepts %s unchanged', (_label, value) => {
    expect(logger(value, 'logger')).toBe(value)
  })

  it.each([
    ['undefined', undefined],
    ['null', null],
    ['a function', () => {}],
    ['an object without "warn"', { ...silent, warn: undefined }],
    ['a string', 'console'],
  ])('rejects %s', (_label, value) => {
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
