/** Brings notifications to the sessions that listen. PostgreSQL has one listener here, which listens for all. */
import { textAt } from './frontend-text.js'
import { HEADER_BYTES } from '../../../core/wire/message-reader.js'
import { rowsOf } from './sql-reply.js'
import { catalogQuery, identifier } from '../../sql/sql-text.js'

export interface Notifications {
  join(session: number, receive: (message: Buffer) => void): void
  /** Forgets the session. What it alone has listened to need not be listened to any more. */
  leave(session: number): void
  /**
   * Hands a NotificationResponse to all other sessions that listen to its channel, as from the session in whose replies it came.
   * Returns whether that one listens, too.
   */
  deliver(session: number, message: Buffer): boolean
  /**
   * Finds out what a session listens to, after it has run LISTEN, UNLISTEN or what includes one of them.
   *
   * @param mentioned the channels that its statements named: others may listen to them already
   * @param query runs SQL of the engine's own in the session
   */
  update(
    session: number,
    mentioned: ReadonlySet<string>,
    query: (sql: string) => Promise<Buffer>,
  ): Promise<void>
}

interface Listener {
  readonly receive: (message: Buffer) => void
  channels: ReadonlySet<string>
}

export function createNotifications(): Notifications {
  const listeners = new Map<number, Listener>()
  /** What PostgreSQL listens to. */
  let inPlace: ReadonlySet<string> = new Set()

  const wanted = (): Set<string> =>
    new Set([...listeners.values()].flatMap(({ channels }) => [...channels]))

  return {
    join(session, receive) {
      listeners.set(session, { receive, channels: new Set() })
    },
    leave(session) {
      listeners.delete(session)
    },
    deliver(session, message) {
      // The one backend notifies for all. A client knows its own notifications by the process ID that it was given.
      message.writeInt32BE(session, HEADER_BYTES)
      const { text: channel } = textAt(message, HEADER_BYTES + PROCESS_ID_BYTES)
      for (const [other, { receive, channels }] of listeners) {
        if (other !== session && channels.has(channel)) receive(message)
      }
      return listeners.get(session)?.channels.has(channel) === true
    },
    async update(session, mentioned, query) {
      const listener = listeners.get(session)
      if (listener === undefined) return
      const rows = rowsOf(await query(catalogQuery('SELECT pg_catalog.pg_listening_channels()')))
      const now = new Set(rows.map(([channel]) => channel ?? ''))
      const kept = [...listener.channels].filter((channel) => now.has(channel))
      const gained = [...now].filter((channel) => !inPlace.has(channel) || mentioned.has(channel))
      listener.channels = new Set([...kept, ...gained])
      const all = wanted()
      const steps = [
        ...[...all]
          .filter((channel) => !now.has(channel))
          .map((lost) => `LISTEN ${identifier(lost)}`),
        ...[...now]
          .filter((channel) => !all.has(channel))
          .map((done) => `UNLISTEN ${identifier(done)}`),
      ]
      if (steps.length > 0) await query(steps.join('; '))
      inPlace = all
    },
  }
}

const PROCESS_ID_BYTES = 4
