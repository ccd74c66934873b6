/** A short run: some work, then `close`. Anything that keeps the process running after that was not released. */
import type { ClientEntry } from '../../../clients/client.js'
import { loginOfChild, type ChildOrder } from '../child-run.js'

export interface LifecycleReport {
  readonly rows: number
}

export async function runLifecycle(
  entry: ClientEntry,
  { login }: ChildOrder,
): Promise<LifecycleReport> {
  const database = entry.open(loginOfChild(login), entry.options({ poolSize: 3, log: () => {} }))
  const rows = await Promise.all(Array.from({ length: 9 }, () => database.run('SELECT 1 AS one')))
  await database.ownTransaction(async (transaction) => {
    await transaction.run('SELECT 1')
  })
  await database.close()
  return { rows: rows.flat().length }
}
