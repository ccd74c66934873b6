/** The resources of a process: handles, connections of a pool, memory. */
import { eventually } from '../support/eventually.js'

export type Resources = Readonly<Record<string, number>>

/** Open handles and unfinished requests, by kind. */
export function openResources(): Resources {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}

/** Resolves when no kind has more handles than before, or after a time limit. */
export async function settleTo(before: Resources): Promise<void> {
  const isSettled = (): boolean => excessOf(before, openResources()).length === 0
  await eventually('handles to close', isSettled).catch(() => {})
}

/** Bytes of heap in use, after a garbage collection: the process runs with `--expose-gc`. */
export function usedHeap(): number {
  global.gc?.()
  return process.memoryUsage().heapUsed
}

/** The kinds with more handles than before. */
export function excessOf(before: Resources, after: Resources): string[] {
  return Object.entries(after)
    .filter(([kind, count]) => kind !== ASKING && count > (before[kind] ?? 0))
    .map(([kind, count]) => `${count} ${kind} (${before[kind] ?? 0} before)`)
}

/** Timers are excluded, because this code uses one too. A timer that keeps a process alive shows in that the process does not end. */
const ASKING = 'Timeout'

/**
 * Samples the number of connections. A connection that is ending may overlap with its replacement for a short time. If more than `limit`
 * stay open, the pool has lost track of a connection.
 *
 * @returns `stop()`, which ends it and returns the observations, in words
 */
export function watchExcess(open: () => number, limit: number): { stop(): string[] } {
  let looks = 0
  let longest = 0
  const timer = setInterval(() => {
    looks = open() > limit ? looks + 1 : 0
    longest = Math.max(longest, looks)
  }, EVERY_MS)
  return {
    stop() {
      clearInterval(timer)
      return longest < TOLERATED_LOOKS
        ? []
        : [`more than ${limit} connections were open for ${(longest * EVERY_MS) / 1_000} s`]
    },
  }
}

const EVERY_MS = 250
const TOLERATED_LOOKS = 10
