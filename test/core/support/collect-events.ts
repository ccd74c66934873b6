/** Collects pg-iam's events during one test. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { EventsByChannel } from '../../../core/index.js'

export interface CollectedEvents {
  /** Name and content of each event, in order. */
  readonly events: { name: string; event: Record<string, unknown> }[]
  /** The names only, without `pg-iam:`. */
  names(): string[]
  /** Resolves with the next event of a name, or one that was already received. */
  next(name: keyof EventsByChannel): Promise<Record<string, unknown>>
  stop(): void
}

const CHANNELS: readonly (keyof EventsByChannel)[] = [
  'pg-iam:token.made',
  'pg-iam:token.reused',
  'pg-iam:token.failed',
  'pg-iam:connection.opened',
  'pg-iam:connection.retired',
]

export function collectEvents(): CollectedEvents {
  const events: CollectedEvents['events'] = []
  const waiting: (() => void)[] = []
  const listen = (event: unknown, name: string | symbol): void => {
    events.push({ name: String(name), event: event as Record<string, unknown> })
    for (const wake of waiting.splice(0)) wake()
  }
  for (const channel of CHANNELS) subscribe(channel, listen)
  const given = new Map<string, number>()
  return {
    events,
    names: () => events.map(({ name }) => name.replace('pg-iam:', '')),
    async next(name) {
      const index = given.get(name) ?? 0
      given.set(name, index + 1)
      for (;;) {
        const found = events.filter((event) => event.name === name)[index]
        if (found !== undefined) return found.event
        await new Promise<void>((resolve) => waiting.push(resolve))
      }
    },
    stop() {
      for (const channel of CHANNELS) unsubscribe(channel, listen)
    },
  }
}
