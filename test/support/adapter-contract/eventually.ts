/** Waits for an effect of the other side of a connection that is not announced here. */
import { setTimeout as pause } from 'node:timers/promises'

/** Resolves when `holds` returns `true`. Rejects with `what` in the message after a time limit. */
export async function eventually(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + LONGEST_MS
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`timed out waiting for ${what}`)
    await pause(ASK_AGAIN_MS)
  }
}

const LONGEST_MS = 20_000
const ASK_AGAIN_MS = 5
