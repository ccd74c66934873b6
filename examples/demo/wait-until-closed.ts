/** Waits for connections to end. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as delay } from 'node:timers/promises'
import type { EventsByChannel } from 'pg-iam'
import type { Participant } from './participants.js'

const RETIRED = 'pg-iam:connection.retired' satisfies keyof EventsByChannel

const LONGEST_WAIT_MS = 5_000

/**
 * Waits until no participant has an open physical connection, for some seconds at most. Pools report that they are closed after they
 * have sent Terminate, which is shortly before the sockets close.
 */
export async function waitUntilClosed(participants: readonly Participant[]): Promise<void> {
  const isClosed = (): boolean =>
    participants.every(({ login }) => login.stats().connectionsOpen === 0)
  const closed = new AbortController()
  const check = (): void => {
    if (isClosed()) closed.abort()
  }
  subscribe(RETIRED, check)
  check()
  await delay(LONGEST_WAIT_MS, undefined, { signal: closed.signal }).catch(() => {})
  unsubscribe(RETIRED, check)
}
