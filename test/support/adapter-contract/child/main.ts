/** The process that runs one task of the contract: it reads its order from standard input and reports on standard output. */
import { json } from 'node:stream/consumers'
import type { AdapterDriver, AdapterVariant } from '../adapter-driver.js'
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
  const report = await TASKS[order.task](await findVariant(order), order)
  process.stdout.write(`REPORT ${JSON.stringify(report)}\n`)
}

async function findVariant({ client, variant }: ChildOrder): Promise<AdapterVariant> {
  // Loaded by name, so that the process loads only one client.
  const loaded = (await import(`../../../adapters/drivers/${client}.js`)) as Record<
    string,
    AdapterDriver
  >
  const driver = Object.values(loaded).find((value) => value.client === client)
  const found = driver?.variants.find(({ name }) => name === variant)
  if (found === undefined) throw new Error(`no ${variant} for ${client}`)
  return found
}

// A failed task ends the process with an unhandled rejection, as in an application.
void main()
