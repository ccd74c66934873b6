/** What this process holds on to. */
import { until } from '../../test/resilience/until.js'
import type { Resources } from './messages.js'
import { excessOf } from './verdict/resources.js'

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
