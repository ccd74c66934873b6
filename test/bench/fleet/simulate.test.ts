import { figuresOf, type Figures } from '../../../bench/fleet/figures.js'
import {
  EVERY_SECOND,
  IMMEDIATE,
  NO_LIFETIME,
  PG_IAM,
  POSTGRES_JS,
} from '../../../bench/fleet/policies/compared.js'
import { pgIam } from '../../../bench/fleet/policies/pg-iam.js'
import type { Policy } from '../../../bench/fleet/policies/policy.js'
import type { FleetRecord } from '../../../bench/fleet/recorder.js'
import {
  HOME,
  REGION_TIMES,
  START_SECS,
  regionFails,
  soonestSecs,
  startAtOnce,
  type FleetSize,
} from '../../../bench/fleet/scenarios.js'
import { simulate } from '../../../bench/fleet/simulate.js'

/** A fiftieth of the fleet against a fiftieth of the limits, which takes as long to come up. */
const SMALL: FleetSize = {
  processes: 20,
  connectionsPerProcess: 10,
  limits: { ratePerSec: 2, burst: 20, maxOpen: 200, maxSessionMs: 3_600_000 },
}
const WANTED = 200

const RATED = pgIam({
  name: 'rated',
  description: '',
  options: { connectRate: 0.1, connectTimeoutMs: 120_000 },
})

const refused = ({ refusedForCount, refusedForRate }: Figures): number =>
  refusedForCount + refusedForRate

const START = { from: 0, to: START_SECS }
const start = (policy: Policy, seed = 1): Promise<FleetRecord> =>
  simulate({ ...startAtOnce(SMALL, 1), seconds: START_SECS }, policy, seed)

describe('simulate', () => {
  it.each([PG_IAM, IMMEDIATE])('gives the same record for the same seed: $name', async (policy) => {
    expect(await start(policy)).toEqual(await start(policy))
  })

  it('gives another record for another seed', async () => {
    expect((await start(PG_IAM, 1)).counts).not.toEqual((await start(PG_IAM, 2)).counts)
  })
})

describe('a fleet that starts at once', () => {
  it.each([PG_IAM, RATED, IMMEDIATE, EVERY_SECOND, POSTGRES_JS])(
    'comes up at the limit of the service, and is quiet then: $name',
    async (policy) => {
      const record = await start(policy)
      const soonest = soonestSecs(WANTED, SMALL.limits)
      expect(record.reachedAfterSecs.get('all')).toBeGreaterThanOrEqual(soonest)
      expect(record.reachedAfterSecs.get('all')).toBeLessThan(1.25 * soonest)
      const afterwards = figuresOf(record, { from: 200, to: START_SECS })
      expect(afterwards).toMatchObject({ peakAttempts: 0, fewestOpen: WANTED })
    },
  )

  it('is refused a hundredth as often with pg-iam as with immediate retry', async () => {
    const ours = refused(figuresOf(await start(PG_IAM), START))
    const immediate = refused(figuresOf(await start(IMMEDIATE), START))
    expect(ours).toBeLessThan(immediate / 100)
    expect(ours).toBeLessThan(5 * WANTED)
  })

  it('is not refused at all at a rate that is its share', async () => {
    const figures = figuresOf(await start(RATED), START)
    expect([refused(figures), figures.failedCalls]).toEqual([0, 0])
  })

  it('goes on asking, but seldom, for connections that are over the number allowed', async () => {
    const size = { ...SMALL, connectionsPerProcess: 12 }
    const record = await simulate({ ...startAtOnce(size, 1), seconds: 600 }, PG_IAM, 1)
    const figures = figuresOf(record, { from: 300, to: 600 })
    expect(record.open.at(-1)).toBe(SMALL.limits.maxOpen)
    expect(figures.refusedForCount).toBeGreaterThan(0)
    expect(figures.refusedForCount / 300 / SMALL.processes).toBeLessThan(0.3)
  })
})

describe('the lifetimes of a fleet', () => {
  const HOURS = 4
  const AFTERWARDS = { from: START_SECS, to: HOURS * 3_600 }
  const live = async (policy: Policy): Promise<Figures> =>
    figuresOf(await simulate(startAtOnce(SMALL, HOURS), policy, 1), AFTERWARDS)

  it('are spread with pg-iam, and nothing is refused or ended by the service', async () => {
    const figures = await live(PG_IAM)
    expect(figures).toMatchObject({ endedByService: 0, failedCalls: 0 })
    expect(refused(figures)).toBe(0)
    expect(figures.peakOpened).toBeLessThan(10)
    expect(figures.fewestOpen).toBeGreaterThan(0.97 * WANTED)
  })

  it('come round together where they are fixed', async () => {
    expect((await live(IMMEDIATE)).peakOpened).toBeGreaterThanOrEqual(SMALL.limits.burst)
  })

  it('end with the session where there are none', async () => {
    expect((await live(NO_LIFETIME)).endedByService).toBe(3 * WANTED)
  })
})

describe('a fleet whose Region fails', () => {
  const FAILURE = { from: REGION_TIMES.failsAtSec, to: REGION_TIMES.returnsAtSec }

  it.each([PG_IAM, RATED, IMMEDIATE])(
    'goes to the next Region and comes home: $name',
    async (policy) => {
      const { openTo, reachedAfterSecs } = await simulate(regionFails(SMALL), policy, 1)
      const home = openTo.get(HOME) as Float64Array
      expect([home[899], home[900], home.at(-1)]).toEqual([WANTED, 0, WANTED])
      const soonest = 5 + soonestSecs(WANTED, SMALL.limits)
      expect(reachedAfterSecs.get('all')).toBeLessThan(1.4 * soonest)
      expect(reachedAfterSecs.get('all at home')).toBeLessThan(3_600)
    },
  )

  it('asks the Region that is gone less often than one that remembers nothing', async () => {
    const ours = figuresOf(await simulate(regionFails(SMALL), PG_IAM, 1), FAILURE)
    const immediate = figuresOf(await simulate(regionFails(SMALL), IMMEDIATE, 1), FAILURE)
    expect(ours.unanswered).toBeLessThan(immediate.unanswered / 5)
    expect(ours.unanswered).toBeLessThan(1.75 * WANTED)
    expect(refused(ours)).toBeLessThan(refused(immediate) / 2)
  })
})
