/** The process that runs one task of the contract: it reads its order from standard input and reports on standard output. */
import { json } from 'node:stream/consumers'
import type { ClientEntry } from '../../../clients/client.js'
import { loadClient } from '../../../clients/index.js'
import type { ChildOrder } from '../child-run.js'
import { runFailingProvider } from './failing-provider.js'
import { runHostileServer } from './hostile-server.js'
import { runLifecycle } from './lifecycle.js'

const TASKS = {
  lifecycle: runLifecycle,
  'failing-provider': runFailingProvider,
  'hostile-server': runHostileServer,
} as const

async function main(): Promise<void> {
  const order = (await json(process.stdin)) as ChildOrder
  const report = await TASKS[order.task](await findEntry(order), order)
  process.stdout.write(`REPORT ${JSON.stringify(report)}\n`)
}

async function findEntry({ client, entry }: ChildOrder): Promise<ClientEntry> {
  const { entries } = await loadClient(client)
  const found = entries.find(({ name }) => name === entry)
  if (found === undefined) throw new Error(`no ${entry} for ${client}`)
  return found
}

// A failed task ends the process with an unhandled rejection, as in an application.
void main()
