/** Connections are lost in every way, in a separate process, which must survive, lose no slot, and report the reason. */
import type { ClientEntry, Client } from '../../clients/client.js'
import type { PostgresPlace } from '../rig.js'
import { EXPECTATIONS, LOST, toldBy } from './expectations.js'
import { type Api, runKills, type KillResult } from './run-kills.js'
import type { ScenarioReport } from './scenario.js'
import { STATEMENT_SCENARIOS, TRANSACTION_SCENARIOS, type ScenarioName } from './scenarios.js'

const STATEMENTS = Object.keys(STATEMENT_SCENARIOS) as ScenarioName[]
const TRANSACTIONS = Object.keys(TRANSACTION_SCENARIOS) as ScenarioName[]

export function describeKills(
  client: Client,
  entry: ClientEntry,
  postgres: () => PostgresPlace,
): void {
  const apis: readonly Api[] =
    entry.own === 'none' ? ['statements', 'ours'] : ['statements', 'ours', 'own']
  let result: KillResult

  beforeAll(async () => {
    result = await runKills({
      client: client.name,
      entry: entry.name,
      apis,
      postgres: postgres(),
    })
  })

  it('does not end the process, which then exits on its own', () => {
    expect(result).toMatchObject({ end: 0, output: expect.not.stringContaining('Error:') })
  })

  describe.each(apis.map((api) => ({ api, title: TITLES[api] })))('$title', ({ api }) => {
    const scenarios = scenariosOf(api, entry)
    const reportOf = (name: ScenarioName): ScenarioReport | undefined => result.reports[api]?.[name]

    it.each(scenarios)('leaves the pool and the data intact: %s', (name) => {
      const { runs, notes } = EXPECTATIONS[name]
      expect(reportOf(name)).toMatchObject({ notes, next: 'ok', crashes: [] })
      if (api !== 'own' || entry.own === 'protected') expect(reportOf(name)).toMatchObject({ runs })
    })

    if (api === 'own' && entry.own !== 'protected') return
    it.each(scenarios)('reports the reason: %s', (name) => {
      const told = EXPECTATIONS[name].told.flatMap((words) =>
        // Only our own transaction function detects that COMMIT was in progress.
        api === 'own' && words === 'that the outcome is unknown' ? LOST : words,
      )
      expect(told).toContain(toldBy(reportOf(name)?.error))
    })
  })
}

const TITLES: Readonly<Record<Api, string>> = {
  statements: 'in statements',
  ours: 'in our transaction function',
  own: "in the client's own transaction",
}

function scenariosOf(api: Api, { own }: ClientEntry): readonly ScenarioName[] {
  if (api === 'statements') return STATEMENTS
  if (api === 'ours' || own !== 'survives, but for late statements') return TRANSACTIONS
  return TRANSACTIONS.filter((name) => !/sent during|is not awaited/.test(name))
}
