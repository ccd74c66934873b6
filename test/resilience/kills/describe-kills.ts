/** Connections are lost in every way, in a separate process, which must survive, lose no slot, and report the reason. */
import type { ClientEntry, Client } from '../../clients/client.js'
import type { PostgresPlace } from '../rig.js'
import { EXPECTATIONS, LOST, toldBy } from './expectations.js'
import { runKills, type KillOrder, type KillResult } from './run-kills.js'
import { STATEMENT_SCENARIOS, TRANSACTION_SCENARIOS, type ScenarioName } from './scenarios.js'

const STATEMENTS = Object.keys(STATEMENT_SCENARIOS) as ScenarioName[]
const TRANSACTIONS = Object.keys(TRANSACTION_SCENARIOS) as ScenarioName[]

export function describeKills(
  client: Client,
  entry: ClientEntry,
  postgres: () => PostgresPlace,
): void {
  describePlay(client, entry, 'statements', STATEMENTS, postgres)
  describePlay(client, entry, 'ours', TRANSACTIONS, postgres)
  if (entry.own !== 'none') describePlay(client, entry, 'own', scenariosOfOwn(entry), postgres)
}

const TITLES: Readonly<Record<KillOrder['api'], string>> = {
  statements: 'in statements',
  ours: 'in our transaction function',
  own: "in the client's own transaction",
}

function describePlay(
  client: Client,
  { name: entry, own }: ClientEntry,
  api: KillOrder['api'],
  scenarios: readonly ScenarioName[],
  postgres: () => PostgresPlace,
): void {
  describe(TITLES[api], () => {
    let result: KillResult

    beforeAll(async () => {
      result = await runKills({ client: client.name, entry, api, postgres: postgres() })
    }, 300_000)

    it('does not end the process, which then exits on its own', () => {
      expect(result).toMatchObject({ end: 0, output: expect.not.stringContaining('Error:') })
    })

    it.each(scenarios)('leaves the pool and the data intact: %s', (name) => {
      const { runs, notes } = EXPECTATIONS[name]
      expect(result.reports[name]).toMatchObject({ notes, next: 'ok', crashes: [] })
      if (api !== 'own' || own === 'protected') expect(result.reports[name]).toMatchObject({ runs })
    })

    if (api === 'own' && own !== 'protected') return
    it.each(scenarios)('reports the reason: %s', (name) => {
      const told = EXPECTATIONS[name].told.flatMap((words) =>
        // Only our own transaction function detects that COMMIT was in progress.
        api === 'own' && words === 'that the outcome is unknown' ? LOST : words,
      )
      expect(told).toContain(toldBy(result.reports[name]?.error))
    })
  })
}

function scenariosOfOwn({ own }: ClientEntry): readonly ScenarioName[] {
  if (own !== 'survives, but for late statements') return TRANSACTIONS
  return TRANSACTIONS.filter((name) => !/sent during|is not awaited/.test(name))
}
