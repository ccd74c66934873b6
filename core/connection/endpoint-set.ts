/** The places that a login may go to, and which of them answer. */
import { fullJitter } from '../full-jitter.js'
import type { Endpoint } from './log-in.js'

export interface EndpointSet {
  /** All endpoints, in the order in which to try them: as given, but those that lately did not answer come last. */
  inOrder(): readonly Endpoint[]
  answered(endpoint: Endpoint): void
  /** Leaves the endpoint alone for a while, longer each time. */
  didNotAnswer(endpoint: Endpoint): void
}

/** Clock and chance, as parameters for tests and simulations. */
export interface EndpointSurroundings {
  now: () => number
  random: () => number
}

/** How long an endpoint is left alone after its first failure; the time doubles with each further one, up to the longest. */
const FIRST_REST_MS = 1_000
const LONGEST_REST_MS = 60_000

export function createEndpointSet(
  endpoints: readonly Endpoint[],
  surroundings: Partial<EndpointSurroundings> = {},
): EndpointSet {
  const { now = Date.now, random = Math.random } = surroundings
  const resting = new Map<Endpoint, { failures: number; until: number }>()
  const isResting = (endpoint: Endpoint): boolean => now() < (resting.get(endpoint)?.until ?? 0)
  return {
    inOrder: () => [
      ...endpoints.filter((endpoint) => !isResting(endpoint)),
      ...endpoints.filter(isResting),
    ],
    answered: (endpoint) => void resting.delete(endpoint),
    didNotAnswer: (endpoint) => {
      // Many connections fail of one outage together; they are one failure.
      if (isResting(endpoint)) return
      const failures = (resting.get(endpoint)?.failures ?? 0) + 1
      const rest = fullJitter(failures, FIRST_REST_MS, LONGEST_REST_MS, () => 0.5 + random() / 2)
      resting.set(endpoint, { failures, until: now() + rest })
    },
  }
}
