/** Waits for connections to end. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as delay } from 'node:timers/promises'
import type { EventsByChannel } from 'pg-iam'
import type { Participant } from './participants.js'

const RETIRED = 'pg-iam:connection.retired' satisfies keyof EventsByChannel

const LONGEST_WAIT_MS = 5_000

/**
 * Waits until none of the participants has a physical connection any more, for some seconds at most: pools say that they
 * are closed when they have said goodbye to the server, which is a little before the sockets are.
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
