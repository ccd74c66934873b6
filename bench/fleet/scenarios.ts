/** What the fleets go through. */
import { AURORA_DSQL_LIMITS, type ConnectionLimits } from './connection-limiter.js'
import type { Scenario, Stage } from './simulate.js'

/** How many processes, with how many connections each, against which limits. */
export interface FleetSize {
  processes: number
  connectionsPerProcess: number
  limits: ConnectionLimits
}

export const FLEET: FleetSize = {
  processes: 1_000,
  connectionsPerProcess: 10,
  limits: AURORA_DSQL_LIMITS,
}

export const HOME = 'homehomehomehomehomehomeho.dsql.us-east-1.on.aws'
const SECOND = 'secondsecondsecondsecondse.dsql.us-east-2.on.aws'

/** Every process starts within one second, and the fleet runs on for hours. */
export function startAtOnce(size: FleetSize, hours: number): Scenario {
  return {
    ...size,
    seconds: hours * 3_600,
    startedWithinSecs: 1,
    hosts: [HOME],
    events: [{ atSec: 0, act: (stage) => lookOutForAll(stage) }],
  }
}

/** The seconds of `startAtOnce` that count as the start; what comes after is its steady state. */
export const START_SECS = 600

export const REGION_TIMES = { startedWithinSecs: 600, failsAtSec: 900, returnsAtSec: 1_500 }

/**
 * A fleet that came up over ten minutes loses its Region, which ends all its connections and answers no more, and gets it
 * back ten minutes later. A second Region with limits of its own takes its place meanwhile.
 */
export function regionFails(size: FleetSize): Scenario {
  return {
    ...size,
    seconds: 6_000,
    startedWithinSecs: REGION_TIMES.startedWithinSecs,
    hosts: [HOME, SECOND],
    events: [
      {
        atSec: REGION_TIMES.failsAtSec,
        act: (stage) => {
          stage.regions[0]?.fail()
          lookOutForAll(stage)
        },
      },
      {
        atSec: REGION_TIMES.returnsAtSec,
        act: ({ regions, recorder, wanted }) => {
          regions[0]?.recover()
          recorder.lookOutFor('most at home', wanted * MOST, HOME)
          recorder.lookOutFor('all at home', wanted, HOME)
        },
      },
    ],
  }
}

/** Until then nobody can know that a Region does not answer: pg-iam gives it so long, and so do the others here. */
export const NOTICED_AFTER_SECS = 5

/** What counts as "99 %". */
export const MOST = 0.99

function lookOutForAll({ recorder, wanted }: Stage): void {
  recorder.lookOutFor('most', wanted * MOST)
  recorder.lookOutFor('all', wanted)
}

/** The seconds until `connections` can be open at the earliest, from none and after a quiet time. */
export function soonestSecs(connections: number, { burst, ratePerSec }: ConnectionLimits): number {
  return Math.max(0, connections - burst) / ratePerSec
}
