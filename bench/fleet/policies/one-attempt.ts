/** What clients do that leave it at one attempt for each call of the application: it fails, and the application calls again. */
import type { Session } from '../region.js'
import type { Connector, Policy, World } from './policy.js'

export interface OneAttemptSettings {
  name: string
  description: string
  /** Draws the age at which a connection is replaced, in seconds. */
  lifetimeSecs: (random: () => number) => number
  /** Draws the pause between a failed call and the next, in milliseconds. Default: none. */
  pauseMs?: (random: () => number) => number
}

export function oneAttempt(settings: OneAttemptSettings): Policy {
  const { name, description, lifetimeSecs, pauseMs } = settings
  return {
    name,
    description,
    createConnector: (world) => ({
      connect: (ended, done) => tryInOrder(world, 0, ended, done),
      afterFailure: (again) => {
        if (pauseMs === undefined) again()
        else world.time.afterPlainly(pauseMs(world.random), again)
      },
      lifetimeMs: () => lifetimeSecs(world.random) * 1_000,
    }),
  }
}

/** For how long a Region that does not answer is waited for, as long as by pg-iam, and much shorter than by any driver's default. */
const NO_ANSWER_MS = 5_000

/** Each call begins with the first Region: nobody remembers which one did not answer. */
function tryInOrder(
  world: World,
  index: number,
  ended: () => void,
  done: Parameters<Connector['connect']>[1],
): void {
  const { time, regions, loginMs } = world
  const region = regions[index]
  if (region === undefined) {
    done(undefined)
    return
  }
  const next = (): void => tryInOrder(world, index + 1, ended, done)
  const takesMs = loginMs()
  time.afterPlainly(takesMs, () => {
    const answer: Session | string | undefined = region.logIn(ended)
    if (answer === undefined) time.afterPlainly(NO_ANSWER_MS - takesMs, next)
    else if (typeof answer === 'string') next()
    else done(answer)
  })
}
