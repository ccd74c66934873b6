/** Waits for conditions that another process or the other side of a connection brings about without a notification. */
import { setTimeout as pause } from 'node:timers/promises'

/** Resolves as soon as `holds` does. Rejects with `what` in the message if it never does. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + LONGEST_MS
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`timed out waiting for ${what}`)
    await pause(ASK_AGAIN_MS)
  }
}

/** The result of `work`, or that it does not settle. */
export async function endOf<T>(work: Promise<T>): Promise<T | 'hangs'> {
  const abort = new AbortController()
  try {
    return await Promise.race([work, pause(LONGEST_MS, 'hangs' as const, { signal: abort.signal })])
  } finally {
    abort.abort()
  }
}

/** A safety limit, long enough for a busy machine. */
const LONGEST_MS = 120_000
const ASK_AGAIN_MS = 5
