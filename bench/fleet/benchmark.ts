/** The benchmark: all policies in all scenarios. */
import {
  EVERY_SECOND,
  IMMEDIATE,
  NO_LIFETIME,
  PG_IAM,
  PG_IAM_RATED,
  POSTGRES_JS,
} from './policies/compared.js'
import type { Policy } from './policies/policy.js'
import type { FleetRecord } from './recorder.js'
import { FLEET, regionFails, startAtOnce } from './scenarios.js'
import { simulate, type Scenario } from './simulate.js'

/** The records of one scenario by the name of the policy. pg-iam's are last. */
export type Records = ReadonlyMap<string, FleetRecord>

export interface BenchmarkRecords {
  start: Records
  region: Records
}

/** Start and lifetimes are one run: the fleet continues after its start. */
export const HOURS = 4

/** The policies of the start. pg-iam's are last. */
export const STARTED: readonly Policy[] = [
  NO_LIFETIME,
  POSTGRES_JS,
  EVERY_SECOND,
  IMMEDIATE,
  PG_IAM_RATED,
  PG_IAM,
]

/** Policies whose figures equal those of another one: until the first lifetime ends, and after it. */
export const SAME_AT_START: readonly Policy[] = [NO_LIFETIME, POSTGRES_JS]
export const SAME_WITH_LIFETIMES: readonly Policy[] = [EVERY_SECOND]

export function without(records: Records, policies: readonly Policy[]): Records {
  const names = policies.map(({ name }) => name)
  return new Map([...records].filter(([name]) => !names.includes(name)))
}

/** Only policies with known behaviour for several Regions. Applications of the peers try hosts in order, each time. */
export const FAILED_OVER: readonly Policy[] = [EVERY_SECOND, IMMEDIATE, PG_IAM_RATED, PG_IAM]

/** @param progress called before each run */
export async function runBenchmark(
  seed: number,
  progress: (line: string) => void,
): Promise<BenchmarkRecords> {
  const run = async (
    scenario: Scenario,
    policies: readonly Policy[],
    what: string,
  ): Promise<Records> => {
    const records = new Map<string, FleetRecord>()
    for (const policy of policies) {
      progress(`${what}: ${policy.name}`)
      records.set(policy.name, await simulate(scenario, policy, seed))
    }
    return records
  }
  return {
    start: await run(startAtOnce(FLEET, HOURS), STARTED, 'start and lifetimes'),
    region: await run(regionFails(FLEET), FAILED_OVER, 'failing Region'),
  }
}
