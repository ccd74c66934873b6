/** Tests one client with misbehaving servers, in a separate process: what must not happen, whatever the servers send. */
import { loadHostileClient, type HostileClientName } from './clients/clients.js'
import { runHostile } from './run-hostile.js'
import {
  KINDS,
  PHASES,
  faultsOf,
  type Kind,
  type Phase,
  type Result,
  type Scenario,
  type Timing,
} from './scenario.js'
import { scenariosOf } from './scenarios.js'

/** `npm run hostile` runs more scenarios, with other seeds. */
const BY_CHANCE = { runs: 150, seed: 1 }

/** Time limits that matter only on a slow machine, if everything works. */
const TIMING: Timing = { connectTimeoutMs: 20_000, patienceMs: 10_000, freezeMs: 10_000 }
const ALL_RUNS_MS = 600_000
/** A client that needs this time for every scenario would take hours. */
const MOST_FAULTS = 8

const KIND_TITLES: Readonly<Record<Kind, string>> = {
  cut: 'reads a sound stream the same wherever the network cuts it',
  broken: 'neither crashes, hangs nor goes on when a message is broken',
  special: 'lives through silence, endings, floods and refuses what no server may ask',
}

const PHASE_TITLES: Readonly<Record<Phase, string>> = {
  startup: 'in the place of the request for a password',
  sasl: 'in the place of AuthenticationSASLContinue',
  'sasl-final': 'in the place of AuthenticationSASLFinal',
  password: 'in the place of AuthenticationOk',
  greeting: 'behind AuthenticationOk',
  first: 'in the reply to the first request',
  simple: 'in the reply to a simple query',
  describe: 'in the reply to Parse and Describe',
  extended: 'in the reply to an extended query',
  begin: 'in the reply to BEGIN',
  inside: 'in the reply to a query in a transaction',
  commit: 'in the reply to COMMIT',
  idle: 'while nothing was asked',
  copy: 'in the reply to COPY TO STDOUT',
}

interface Traits {
  readonly describesFirst?: boolean
  /** Whether the bare driver keeps the slot of a connection that was lost in a transaction: it is waited for until the time limit. */
  readonly bareKeepsSlots?: boolean
}

export function describeHostile(
  client: HostileClientName,
  { describesFirst = false, bareKeepsSlots = false }: Traits = {},
): void {
  describe(`${client} with pg-iam at a hostile server`, () => {
    let scenarios: Scenario[]
    let ours: Result[]

    beforeAll(async () => {
      scenarios = scenariosOf(await loadHostileClient(client), {
        phases: PHASES,
        kinds: KINDS,
        ...BY_CHANCE,
      })
      let faulty = 0
      ours = await runHostile(
        { client, opener: 'pg-iam', timing: TIMING, scenarios },
        (index, result) => {
          if (faultsOf(scenarios[index]!, result).length > 0) faulty++
          return faulty < MOST_FAULTS
        },
      )
    }, ALL_RUNS_MS)

    const faultsIn = (kind: Kind, phase: Phase): string[] =>
      scenarios.flatMap((scenario, index) => {
        if (scenario.kind !== kind || scenario.phase !== phase) return []
        const result = ours[index]
        if (result === undefined) return ['not played, because of the faults before']
        return faultsOf(scenario, result).map((fault) => `${scenario.name}: ${fault}`)
      })

    const phases = PHASES.filter((phase) => describesFirst || phase !== 'describe')
    describe.each(KINDS)('%s', (kind) => {
      it.each(phases.map((phase) => [PHASE_TITLES[phase], phase] as const))(
        `${KIND_TITLES[kind]}: %s`,
        (_title, phase) => {
          expect(faultsIn(kind, phase)).toEqual([])
        },
      )
    })

    it(
      'comes to the same as the bare driver where nothing is wrong, and where the server falls silent in a reply',
      async () => {
        const same = scenarios.flatMap((scenario, index) =>
          isSameAsBare(scenario) && !(bareKeepsSlots && isLostInTransaction(scenario))
            ? [{ scenario, result: ours[index] }]
            : [],
        )
        const bare = await runHostile({
          client,
          opener: 'bare',
          timing: TIMING,
          scenarios: same.map(({ scenario }) => scenario),
        })
        expect(same.length).toBeGreaterThan(50)
        expect(same.map(({ scenario, result }) => endOf(scenario, result))).toEqual(
          same.map(({ scenario }, index) => endOf(scenario, bare[index])),
        )
      },
      ALL_RUNS_MS,
    )
  })
}

/** Not if the server ends the connection: there the drivers alone have faults that pg-iam does not have. */
function isSameAsBare({ kind, ends, cuts, fractions }: Scenario): boolean {
  if (kind === 'broken') return false
  const isUncut = cuts.length === 0 && fractions.length === 0
  return isUncut && ends.length === 1 && ['resolved', 'pending'].includes(ends[0]!)
}

function isLostInTransaction({ phase, ends }: Scenario): boolean {
  return ends.includes('pending') && ['begin', 'inside', 'commit'].includes(phase)
}

function endOf({ phase, name }: Scenario, result: Result | undefined): string {
  const end = result === undefined || 'lost' in result ? 'lost' : result.query.end
  return `${phase}, ${name}: ${end}`
}
