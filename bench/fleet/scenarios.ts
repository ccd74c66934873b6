/** The scenarios. */
import { AURORA_DSQL_LIMITS, type ConnectionLimits } from './connection-limiter.js'
import type { Scenario, Stage } from './simulate.js'

/** The number of processes, their connections, and the limits of the service. */
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

/** Every process starts within one second, and the fleet runs for hours. */
export function startAtOnce(size: FleetSize, hours: number): Scenario {
  return {
    ...size,
    seconds: hours * 3_600,
    startedWithinSecs: 1,
    hosts: [HOME],
    events: [{ atSec: 0, act: (stage) => lookOutForAll(stage) }],
  }
}

/** The seconds of `startAtOnce` that count as the start. The rest is its steady state. */
export const START_SECS = 600

export const REGION_TIMES = { startedWithinSecs: 600, failsAtSec: 900, returnsAtSec: 1_500 }

/**
 * A fleet that started over ten minutes loses its Region, which ends all of its connections and does not respond. The Region recovers ten
 * minutes later. Meanwhile a second Region, with its own limits, is used.
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

/** The time that pg-iam and the other policies need to detect that a Region does not respond. */
export const NOTICED_AFTER_SECS = 5

/** The fraction that counts as "99 %". */
export const MOST = 0.99

function lookOutForAll({ recorder, wanted }: Stage): void {
  recorder.lookOutFor('most', wanted * MOST)
  recorder.lookOutFor('all', wanted)
}

/** The earliest time, in seconds, at which `connections` can be open, from none and with a full bucket. */
export function soonestSecs(connections: number, { burst, ratePerSec }: ConnectionLimits): number {
  return Math.max(0, connections - burst) / ratePerSec
}
