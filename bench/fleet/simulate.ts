/** Runs a fleet in a scenario. */
import type { ConnectionLimits } from './connection-limiter.js'
import type { Connector, Policy } from './policies/policy.js'
import { createRecorder, type FleetRecord, type Recorder } from './recorder.js'
import { createRegion, type Region } from './region.js'
import { createSeededRandom } from '../../test/support/seeded-random.js'
import { createVirtualTime, type VirtualTime } from './virtual-time.js'

export interface Scenario {
  seconds: number
  processes: number
  connectionsPerProcess: number
  /** The processes start evenly distributed over this number of seconds. */
  startedWithinSecs: number
  limits: ConnectionLimits
  hosts: readonly string[]
  /** Other events, by the second. */
  events?: readonly { atSec: number; act: (stage: Stage) => void }[]
}

export interface Stage {
  regions: readonly Region[]
  recorder: Recorder
  /** The number of connections that the fleet opens. */
  wanted: number
}

/** The same seed gives the same record. */
export async function simulate(
  scenario: Scenario,
  policy: Policy,
  seed: number,
): Promise<FleetRecord> {
  const time = createVirtualTime()
  const recorder = createRecorder(scenario.seconds, scenario.hosts, time.now)
  const regions = scenario.hosts.map((host) => createRegion(host, scenario.limits, time, recorder))
  const wanted = scenario.processes * scenario.connectionsPerProcess
  const network = createSeededRandom(seed)
  const loginMs = (): number => FASTEST_LOGIN_MS + network() * (SLOWEST_LOGIN_MS - FASTEST_LOGIN_MS)
  const random = createSeededRandom(seed + 1)

  for (const { atSec, act } of scenario.events ?? [])
    time.after(atSec * 1_000, () => act({ regions, recorder, wanted }))
  for (let process = 0; process < scenario.processes; process++) {
    const startsAtMs = (scenario.startedWithinSecs * 1_000 * process) / scenario.processes
    time.after(startsAtMs, () => {
      const connector = policy.createConnector({ time, random, regions, loginMs })
      for (let slot = 0; slot < scenario.connectionsPerProcess; slot++)
        keepConnected(connector, time, recorder)
    })
  }
  await time.run(scenario.seconds * 1_000)
  return recorder.record
}

const FASTEST_LOGIN_MS = 30
const SLOWEST_LOGIN_MS = 70

/** One slot in the pool of a busy process. There is always a call that waits for it, so it is filled whenever possible. */
function keepConnected(connector: Connector, time: VirtualTime, recorder: Recorder): void {
  let cancelRetirement: (() => void) | undefined
  const place = connector.createPlace({
    done: (session) => {
      if (session === undefined) {
        recorder.count('failedCalls')
        place.connectAgain()
        return
      }
      cancelRetirement = time.after(connector.lifetimeMs(), () => {
        session.destroy()
        place.connect()
      })
    },
    ended: () => {
      cancelRetirement?.()
      place.connect()
    },
  })
  place.connect()
}
