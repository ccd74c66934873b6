/** The process of the contract: it reads its order from standard input and reports on standard output. */
import { json } from 'node:stream/consumers'
import type { ClientEntry } from '../../../clients/client.js'
import { loadClient } from '../../../clients/index.js'
import { type ChildOrder, type ChildReport, loginOfChild } from '../contract-process.js'
import { runFailingProvider } from './failing-provider.js'
import { runHostileServer } from './hostile-server.js'

async function main(): Promise<void> {
  const order = (await json(process.stdin)) as ChildOrder
  const entry = await findEntry(order)
  const report: ChildReport = {
    failures: await runFailingProvider(entry, order),
    rows: await runLifecycle(entry, order),
    attempts: await runHostileServer(entry, order),
  }
  process.stdout.write(`REPORT ${JSON.stringify(report)}\n`)
}

async function findEntry({ client, entry }: ChildOrder): Promise<ClientEntry> {
  const { entries } = await loadClient(client)
  const found = entries.find(({ name }) => name === entry)
  if (found === undefined) throw new Error(`no ${entry} for ${client}`)
  return found
}

/** A short run: some work, then `close`. Anything that keeps the process running after that was not released. */
async function runLifecycle(entry: ClientEntry, { login }: ChildOrder): Promise<number> {
  const client = entry.open(loginOfChild(login), entry.options({ poolSize: 3, log: () => {} }))
  const rows = await Promise.all(Array.from({ length: 9 }, () => client.run('SELECT 1 AS one')))
  await client.ownTransaction(async (transaction) => {
    await transaction.run('SELECT 1')
  })
  await client.close()
  return rows.flat().length
}

// A failed task ends the process with an unhandled rejection, as in an application.
void main()
