/** Lets calls that come while one is under way share it. */

/**
 * Wraps `work` so that at most one call of it is under way. Whoever calls meanwhile gets the same promise; once it has
 * settled, well or badly, the next call starts anew: a failure is never remembered.
 */
export function singleFlight<T>(work: () => Promise<T>): () => Promise<T> {
  let flight: Promise<T> | undefined
  return () => {
    flight ??= work().finally(() => {
      flight = undefined
    })
    return flight
  }
}
