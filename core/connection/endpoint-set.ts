/** The places that a login may go to, and which of them answer. */
import { fullJitter } from '../full-jitter.js'
import type { Endpoint } from './log-in.js'

export interface EndpointSet {
  /** As given. */
  readonly all: readonly Endpoint[]
  /**
   * All endpoints, in the order in which one connection is to try them: as given, but those that lately did not answer come
   * last. When such a one has been left alone for long enough, one connection at a time tries it again.
   */
  inOrder(): readonly Endpoint[]
  /** Those that are left alone, or left to the one connection that tries them again. */
  resting(): readonly Endpoint[]
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

/** For how long the others leave it to one connection to try an endpoint again. */
const TRIAL_MS = 10_000

interface Rest {
  failures: number
  until: number
  isOnTrial: boolean
}

export function createEndpointSet(
  endpoints: readonly Endpoint[],
  surroundings: Partial<EndpointSurroundings> = {},
): EndpointSet {
  const { now = Date.now, random = Math.random } = surroundings
  const rests = new Map<Endpoint, Rest>()
  const isResting = (endpoint: Endpoint): boolean => now() < (rests.get(endpoint)?.until ?? 0)
  /** Lets the first caller after a rest have the endpoint; for the others it goes on resting. */
  const isAvailable = (endpoint: Endpoint): boolean => {
    if (isResting(endpoint)) return false
    const rest = rests.get(endpoint)
    if (rest !== undefined) Object.assign(rest, { until: now() + TRIAL_MS, isOnTrial: true })
    return true
  }
  return {
    all: endpoints,
    inOrder: () => {
      const available = endpoints.filter(isAvailable)
      return [...available, ...endpoints.filter((endpoint) => !available.includes(endpoint))]
    },
    resting: () => endpoints.filter(isResting),
    answered: (endpoint) => void rests.delete(endpoint),
    didNotAnswer: (endpoint) => {
      const rest = rests.get(endpoint)
      // Many connections fail of one outage together; they are one failure.
      if (isResting(endpoint) && rest?.isOnTrial !== true) return
      const failures = (rest?.failures ?? 0) + 1
      const restMs = fullJitter(failures, FIRST_REST_MS, LONGEST_REST_MS, () => 0.5 + random() / 2)
      rests.set(endpoint, { failures, until: now() + restMs, isOnTrial: false })
    },
  }
}
