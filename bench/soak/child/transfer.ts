/** One transfer between two accounts, within a transaction. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Statements } from '../../../test/resilience/clients/resilient-client.js'
import { CHANGED_MIND } from '../causes.js'
import { ACCOUNTS_PER_POOL, accountId } from '../schema.js'
import type { Calls } from './calls.js'

/** What chance has made of a transfer. */
export interface Transfer {
  /** In the order in which all transfers take them, so that none waits for another in a circle. */
  readonly accounts: readonly [number, number]
  readonly amount: number
  /** A pause between its statements, in which its connection is idle, in milliseconds. */
  readonly pauseMs: number
  /** Whether a statement lasts a while. */
  readonly sleeps: boolean
  /** Whether COMMIT does. */
  readonly lingers: boolean
  /** Whether it ends with an error of the application's own. */
  readonly changesMind: boolean
  /** When, after its function has ended, a statement comes late, in milliseconds. */
  readonly lateAfterMs: number | undefined
}

export function chooseTransfer(pool: number, random: () => number): Transfer {
  const one = Math.floor(random() * ACCOUNTS_PER_POOL)
  const other = (one + 1 + Math.floor(random() * (ACCOUNTS_PER_POOL - 1))) % ACCOUNTS_PER_POOL
  return {
    accounts: [accountId(pool, Math.min(one, other)), accountId(pool, Math.max(one, other))],
    amount: 1 + Math.floor(random() * 100),
    pauseMs: random() < 0.3 ? random() * 20 : 0,
    sleeps: random() < 0.15,
    lingers: random() < 0.15,
    changesMind: random() < 0.03,
    lateAfterMs: random() < 0.3 ? random() * 5 : undefined,
  }
}

/** Statements that nobody waits for any more. */
export interface LateStatements {
  add(statement: Promise<void>): void
  /** Resolves when each has ended. */
  drained(): Promise<void>
}

export function createLateStatements(): LateStatements {
  const pending = new Set<Promise<void>>()
  return {
    add: (statement) => {
      pending.add(statement)
      void statement.finally(() => pending.delete(statement))
    },
    drained: async () => void (await Promise.all(pending)),
  }
}

/**
 * Does the statements of a transfer. It behaves as badly as applications do: after an error it goes on for a while, and it
 * leaves statements behind that come when the transaction is over. These write rows that must never be there.
 */
export async function moveMoney(
  id: number,
  { accounts, amount, pauseMs, sleeps, lingers, changesMind, lateAfterMs }: Transfer,
  statements: Statements,
  calls: Calls,
  late: LateStatements,
): Promise<void> {
  const comeLate = (): Promise<void> =>
    calls.makeLate(() => statements.run(`INSERT INTO stray VALUES (${id})`))
  const run = async (text: string): Promise<void> => {
    await statements.run(text)
    calls.counts.queries++
  }
  const change = async (account: number, by: number): Promise<void> => {
    await run(`UPDATE account SET balance = balance + ${by} WHERE id = ${account}`)
    await run(`INSERT INTO leg VALUES (${id}, ${account}, ${by}, ${lingers})`)
  }
  try {
    await statements.insert(id)
    calls.counts.queries++
    await change(accounts[0], -amount)
    if (pauseMs > 0) await delay(pauseMs)
    if (sleeps) await run('SELECT pg_sleep(0.02)')
    await change(accounts[1], amount)
  } catch (error) {
    await comeLate()
    throw error
  } finally {
    // A timer, because what is sent now would still be in time.
    if (lateAfterMs !== undefined) late.add(delay(lateAfterMs).then(comeLate))
  }
  if (changesMind)
    throw Object.assign(new Error('the transfer is not wanted'), { code: CHANGED_MIND })
}
