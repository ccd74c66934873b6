/** Watches that a pool does not have more connections than it may. */

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
