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
  it.each(NAMES)('sends on %s what was built', (name) => {
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

  it.each(NAMES)('builds nothing for %s while nobody listens', (name) => {
    expect(channel(name).hasSubscribers).toBe(false)
    publish(name, () => {
      throw new Error('built')
    })
  })

  it('finds those who subscribed before and after, and those alone who listen to that channel', () => {
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

  it('logs what happens, for debugging', () => {
    createReporter(logger)('pg-iam:token.made', () => ({ ...EVENT, elapsedMs: 1 }))
    expect(log).toEqual([['debug', 'pg-iam: token made', { ...EVENT, elapsedMs: 1 }]])
  })

  it('warns of tokens that failed and of connections that were lost, and of no others', () => {
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

  it('publishes as well, and is not stopped by a logger that throws', () => {
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

  it('is nothing but the channels without a logger', () => {
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
