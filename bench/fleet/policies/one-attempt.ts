/** Policies with one attempt for each call of the application: if it fails, the application calls again. */
import type { Region } from '../region.js'
import type { Place, PlaceCallbacks, Policy, World } from './policy.js'

export interface OneAttemptSettings {
  name: string
  description: string
  /** Returns a random age at which a connection is replaced, in seconds. */
  lifetimeSecs: (random: () => number) => number
  /** Returns a random pause between a failed call and the next, in milliseconds. Default: none. */
  pauseMs?: (random: () => number) => number
}

export function oneAttempt(settings: OneAttemptSettings): Policy {
  const { name, description, lifetimeSecs, pauseMs } = settings
  return {
    name,
    description,
    createConnector: (world) => ({
      createPlace: (callbacks) => createPlace(world, callbacks, pauseMs),
      lifetimeMs: () => lifetimeSecs(world.random) * 1_000,
    }),
  }
}

/** How long to wait for a Region that does not respond: as in pg-iam, and much shorter than any driver's default. */
const NO_ANSWER_MS = 5_000

/** Each call tries the first Region first, because failures are not remembered. */
function createPlace(
  { time, random, regions, loginMs }: World,
  { done, ended }: PlaceCallbacks,
  pauseMs: OneAttemptSettings['pauseMs'],
): Place {
  // No function is created for an attempt, because there are millions of them.
  let index = 0
  let takesMs = 0
  const attempt = (): void => {
    takesMs = loginMs()
    time.afterPlainly(takesMs, arrive)
  }
  const arrive = (): void => {
    const answer = (regions[index] as Region).logIn(ended)
    if (answer === undefined) time.afterPlainly(NO_ANSWER_MS - takesMs, tryNext)
    else if (typeof answer === 'string') tryNext()
    else done(answer)
  }
  const tryNext = (): void => {
    index++
    if (index < regions.length) attempt()
    else done(undefined)
  }
  const connect = (): void => {
    index = 0
    attempt()
  }
  return {
    connect,
    connectAgain: () => {
      if (pauseMs === undefined) connect()
      else time.afterPlainly(pauseMs(random), connect)
    },
  }
}
