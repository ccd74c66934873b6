/** What pgbench prints at its end. */

export interface PgbenchReport {
  readonly transactions: number
  /** Transactions a second, without the time that the connections took. */
  readonly perSecond: number
}

/**
 * Reads it, as it is written in English.
 *
 * @throws Error where a transaction failed or was not run: what is left would be another measurement
 */
export function readPgbenchReport(printed: string): PgbenchReport {
  const done = /^number of transactions actually processed: (\d+)(?:\/(\d+))?$/m.exec(printed)
  // Before version 14: "excluding connections establishing", behind a line that includes them.
  const rate =
    /^tps = ([\d.]+) \((?:without initial connection time|excluding connections establishing)\)$/m.exec(
      printed,
    )
  const perSecond = Number(rate?.[1])
  if (!(perSecond > 0)) throw new Error(`pgbench printed no transactions a second:\n${printed}`)
  const transactions = Number(done?.[1])
  const asked = Number(done?.[2] ?? done?.[1])
  // There since version 15.
  const failed = /^number of failed transactions: (\d+)/m.exec(printed)?.[1] ?? '0'
  if (!(transactions > 0) || transactions !== asked || failed !== '0')
    throw new Error(`pgbench did not do all of its transactions:\n${printed}`)
  return { transactions, perSecond }
}
