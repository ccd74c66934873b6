/** The work of a client in the demo: reads, writes and transactions on several connections at once. */
import { setTimeout as delay } from 'node:timers/promises'
import { openDemoClient, type DemoClient } from './demo-client.js'
import type { Accounts } from './ledger.js'
import type { Counts, Participant } from './participants.js'

const POOL_SIZE = 3

/** The pause between two rounds. All clients share one machine with the gateway and the database. */
const PAUSE_MS = 250

const ERRORS_KEPT = 3

/** Opens the participant's client, runs it until `signal` fires, and closes it. Never rejects: failures are counted. */
export async function runWorkload(
  { client: driver, login, counts }: Participant,
  { from, to }: Accounts,
  signal: AbortSignal,
): Promise<void> {
  try {
    const client = openDemoClient(driver, { login, poolSize: POOL_SIZE, from, to })
    try {
      const lane = (): Promise<void> => work(client, counts, signal)
      await Promise.all(Array.from({ length: POOL_SIZE }, lane))
    } finally {
      await client.close()
    }
  } catch (error) {
    fail(counts, error)
  }
}

async function work(client: DemoClient, counts: Counts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await client.countNotes()
      counts.queries++
      await client.addNote()
      counts.queries++
      counts.notes++
      await client.transfer()
      counts.queries += 2
      counts.transactions++
    } catch (error) {
      fail(counts, error)
    }
    await delay(PAUSE_MS)
  }
}

function fail(counts: Counts, error: unknown): void {
  counts.failures++
  if (counts.errors.length < ERRORS_KEPT) counts.errors.push(error)
}
