/** The pause before an attempt. */

/**
 * A random pause between nothing and a limit that doubles with each attempt: of all ways to spread out those who met in a
 * conflict, the one with the fewest further conflicts.
 * See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 *
 * @param attempt the attempt that failed, from 1
 * @returns milliseconds
 */
export function fullJitter(
  attempt: number,
  baseMs: number,
  maxMs: number,
  random: () => number,
): number {
  return random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1))
}
