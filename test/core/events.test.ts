import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { publish, type EventsByChannel } from '../../core/events.js'

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
