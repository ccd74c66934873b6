/** What a process still holds: handles, connections of a pool, memory. */
import { until } from '../resilience/until.js'

export type Resources = Readonly<Record<string, number>>

/** Open handles and unfinished requests, by kind. */
export function openResources(): Resources {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}

/** Resolves once there is no more of any kind than there was, or after some time in which it did not come to that. */
export async function settleTo(before: Resources): Promise<void> {
  const isSettled = (): boolean => excessOf(before, openResources()).length === 0
  await until('handles to close', isSettled).catch(() => {})
}

/** Bytes of heap in use, after a collection: the process runs under `--expose-gc`. */
export function usedHeap(): number {
  global.gc?.()
  return process.memoryUsage().heapUsed
}

/** The kinds of which there are more than before. */
export function excessOf(before: Resources, after: Resources): string[] {
  return Object.entries(after)
    .filter(([kind, count]) => kind !== ASKING && count > (before[kind] ?? 0))
    .map(([kind, count]) => `${count} ${kind} (${before[kind] ?? 0} before)`)
}

/** Timers come and go: whoever asks has one, too. One that keeps a process alive is seen in that it does not end. */
const ASKING = 'Timeout'

/**
 * Looks now and then. A connection that is ending may overlap with the one that takes its place, but not for long: what stays
 * open beyond `limit` is a connection that the pool has lost sight of.
 *
 * @returns `stop()`, which ends it and tells what was seen, in words
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
