/** A short run: some work, then `close`. Anything that keeps the process running after that was not released. */
import type { AdapterVariant } from '../adapter-driver.js'
import { loginOfChild, type ChildOrder } from '../child-run.js'

export interface LifecycleReport {
  readonly rows: number
}

export async function runLifecycle(
  variant: AdapterVariant,
  { login }: ChildOrder,
): Promise<LifecycleReport> {
  const database = variant.open(
    loginOfChild(login),
    variant.options({ poolSize: 3, log: () => {} }),
  )
  const rows = await Promise.all(Array.from({ length: 9 }, () => database.run('SELECT 1 AS one')))
  await database.transaction(async (transaction) => {
    await transaction.run('SELECT 1')
  })
  await database.close()
  return { rows: rows.flat().length }
}
