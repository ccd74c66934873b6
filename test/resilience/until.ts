/** Waits for what another side brings about and does not announce here. */
import { setTimeout as pause } from 'node:timers/promises'

/** Resolves as soon as `holds` does; rejects, naming `what`, where it never comes to that. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + LONGEST_MS
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await pause(ASK_AGAIN_MS)
  }
}

/** What `work` comes to, or that it does not end. */
export async function endOf<T>(work: Promise<T>): Promise<T | 'hangs'> {
  const abort = new AbortController()
  try {
    return await Promise.race([work, pause(LONGEST_MS, 'hangs' as const, { signal: abort.signal })])
  } finally {
    abort.abort()
  }
}

const LONGEST_MS = 20_000
const ASK_AGAIN_MS = 4
