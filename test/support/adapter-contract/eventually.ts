/** Waits for something that another side of a connection brings about and does not announce here. */
import { setTimeout as pause } from 'node:timers/promises'

/** Resolves as soon as `holds` does; rejects, naming `what`, where it never comes to that. */
export async function eventually(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + LONGEST_MS
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await pause(ASK_AGAIN_MS)
  }
}

const LONGEST_MS = 20_000
const ASK_AGAIN_MS = 5
