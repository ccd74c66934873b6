/** The process in which connections are lost. An uncaught error in it would end an application. */
import { inspect } from 'node:util'
import { json } from 'node:stream/consumers'
import { errorChain } from '../../support/adapter-contract/error-chain.js'
import { type ClientEntry, openClient } from '../../clients/client.js'
import { loadClient } from '../../clients/index.js'
import { startRig, type Rig } from '../rig.js'
import { endOf, eventually } from '../../support/eventually.js'
import type { Api, KillOrder } from './run-kills.js'
import type { Scenario, ScenarioReport } from './scenario.js'
import { STATEMENT_SCENARIOS, TRANSACTION_SCENARIOS } from './scenarios.js'

const crashes: string[] = []
process.on('uncaughtException', (error) => crashes.push(inspect(error)))
process.on('unhandledRejection', (error) => crashes.push(inspect(error)))

async function main(): Promise<void> {
  const order = (await json(process.stdin)) as KillOrder
  const entry = await findEntry(order)
  const rig = await startRig(order.postgres)
  const reports: Partial<Record<Api, Record<string, ScenarioReport>>> = {}
  for (const api of order.apis) {
    const scenarios = api === 'statements' ? STATEMENT_SCENARIOS : TRANSACTION_SCENARIOS
    const ofApi: Record<string, ScenarioReport> = (reports[api] = {})
    for (const [name, scenario] of Object.entries<Scenario>(scenarios))
      if (order.only === undefined || order.only === name)
        ofApi[name] = await play(rig, entry, api, scenario)
  }
  await eventually(
    'the gateway to see no connection',
    () => rig.gateway.stats().connectionsOpen === 0,
  )
  await rig.close()
  process.stdout.write(`REPORT ${JSON.stringify(reports)}\n`)
}

async function findEntry({ client, entry }: KillOrder): Promise<ClientEntry> {
  const { entries } = await loadClient(client)
  return entries.find(({ name }) => name === entry)!
}

async function play(
  rig: Rig,
  entry: ClientEntry,
  api: Api,
  scenario: Scenario,
): Promise<ScenarioReport> {
  await rig.admin('TRUNCATE note')
  rig.gateway.faults.clear()
  crashes.length = 0
  const login = rig.login()
  const client = openClient(entry, login, 1)
  let runs = 0
  const run = scenario({
    rig,
    login,
    entry,
    client,
    transaction: (work) => {
      const counted: typeof work = (statements) => {
        runs++
        return work(statements)
      }
      return api === 'ours' ? client.transaction(counted) : client.ownTransaction(counted)
    },
    noticed: () => eventually('the client to notice', () => login.stats().connectionsOpen === 0),
  })
  const error = await endOf(run.then(() => undefined, partsOf))
  rig.relay.release()
  const next = await endOf(client.run('SELECT 1').then(() => 'ok' as const, partsOf))
  const notes = await rig.notes()
  await client.close()
  return { error, runs, notes, next, crashes: [...crashes] }
}

function partsOf(error: unknown): string[] {
  return errorChain(error).map((link) => {
    const { code, message } = link as { code?: string; message?: string }
    return code ?? message ?? String(link)
  })
}

void main()
