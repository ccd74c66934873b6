/** The work of the tasks on a pool, and the outcome of their calls. */
import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import type { OpenClient, Statements } from '../clients/client.js'
import { endOf } from '../support/eventually.js'
import { ACCOUNTS_PER_POOL, Outcome, accountId, type OutcomeLog } from './ledger.js'
import { PAUSE_MS, type CallCounts } from './messages.js'
import { CHANGED_MIND, causeOf, type Cause } from './verdict.js'

export interface TaskContext {
  readonly pool: number
  readonly client: OpenClient
  readonly calls: Calls
  readonly outcomes: OutcomeLog
  readonly late: LateStatements
  readonly random: () => number
  /** Fires to end the task. */
  readonly signal: AbortSignal
}

type Step = (context: TaskContext) => Promise<'goes on' | 'hangs'>

/** Repeats `step` with pauses until the signal fires. Never rejects. After a call hangs, it is not called again. */
export async function runTask(step: Step, context: TaskContext): Promise<void> {
  const { random, signal } = context
  while (!signal.aborted) {
    if ((await step(context)) === 'hangs') return
    await delay(random() * PAUSE_MS)
  }
}

/** A single statement that reads or writes a row. */
export const query: Step = async ({ pool, client, calls, outcomes, random }) => {
  const chance = random()
  if (chance < 0.5) {
    const id = outcomes.next()
    const { state } = await calls.make(() => client.addNote(id))
    if (state === 'done') calls.counts.queries++
    outcomes.set(id, state === 'done' ? Outcome.written : Outcome.writeLost)
    return state === 'hangs' ? 'hangs' : 'goes on'
  }
  const text =
    chance < 0.6
      ? 'SELECT pg_sleep(0.02)'
      : `SELECT balance FROM account WHERE id = ${accountId(pool, 0)}`
  const { state } = await calls.make(() => client.run(text))
  if (state === 'done') calls.counts.queries++
  return state === 'hangs' ? 'hangs' : 'goes on'
}

/**
 * A transfer in pg-iam's transaction function. If it fails because of a connection loss, it is repeated with the same ID, as an application
 * would do, but not if its outcome is unknown.
 */
export const transfer: Step = async (context) => {
  const { pool, client, calls, outcomes, random, late, signal } = context
  const id = outcomes.next()
  for (let isFirst = true; isFirst || !signal.aborted; isFirst = false) {
    if (!isFirst) calls.counts.repeated++
    const chosen = chooseTransfer(pool, random)
    const result = await calls.make(() =>
      client.transaction((statements) => moveMoney(id, chosen, statements, calls, late), {
        baseDelayMs: 10,
      }),
    )
    if (result.state === 'hangs') return 'hangs'
    if (result.state === 'done') {
      calls.counts.confirmed++
      outcomes.set(id, Outcome.confirmed)
      return 'goes on'
    }
    const isUnknown = result.cause.name === 'ERR_OUTCOME_UNKNOWN'
    outcomes.set(id, isUnknown ? Outcome.unknown : Outcome.refused)
    if (isUnknown || chosen.changesMind) return 'goes on'
  }
  return 'goes on'
}

/** The random properties of a transfer. */
export interface Transfer {
  /** In the order that all transfers use, to avoid deadlocks. */
  readonly accounts: readonly [number, number]
  readonly amount: number
  /** The pause between its statements, in which its connection is idle, in milliseconds. */
  readonly pauseMs: number
  /** Whether a statement is slow. */
  readonly sleeps: boolean
  /** Whether COMMIT is slow. */
  readonly lingers: boolean
  /** Whether it ends with an error of the application. */
  readonly changesMind: boolean
  /** When a late statement is sent after the function has ended, in milliseconds. */
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

/** Statements that no code awaits. */
export interface LateStatements {
  add(statement: Promise<void>): void
  /** Resolves when all of them have ended. */
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
 * Runs the statements of a transfer. It misbehaves as applications do: it continues for a while after an error, and sends statements after
 * the transaction has ended. These write rows that must never appear.
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
    await statements.addNote(id)
    calls.counts.queries++
    await change(accounts[0], -amount)
    if (pauseMs > 0) await delay(pauseMs)
    if (sleeps) await run('SELECT pg_sleep(0.02)')
    await change(accounts[1], amount)
  } catch (error) {
    await comeLate()
    throw error
  } finally {
    // With a timer, because a statement that is sent now would still be in time.
    if (lateAfterMs !== undefined) late.add(delay(lateAfterMs).then(comeLate))
  }
  if (changesMind)
    throw Object.assign(new Error('the transfer is not wanted'), { code: CHANGED_MIND })
}

export type CallResult<T> =
  | { readonly state: 'done'; readonly value: T }
  | { readonly state: 'failed'; readonly cause: Cause }
  | { readonly state: 'hangs' }

export interface Calls {
  readonly counts: CallCounts
  readonly failures: Readonly<Record<string, number>>
  readonly unexpected: Readonly<Record<string, string>>
  /** Makes a call; never rejects. */
  make<T>(work: () => Promise<T>): Promise<CallResult<T>>
  /** Sends a statement that must be rejected; never rejects. */
  makeLate(statement: () => Promise<unknown>): Promise<void>
}

export function createCalls(): Calls {
  const counts: CallCounts = {
    queries: 0,
    confirmed: 0,
    repeated: 0,
    failed: 0,
    hanging: 0,
    late: 0,
    lateDone: 0,
  }
  const failures: Record<string, number> = {}
  const unexpected: Record<string, string> = {}

  const end = async <T>(work: () => Promise<T>): Promise<CallResult<T> & { error?: unknown }> => {
    const attempt = async (): Promise<CallResult<T> & { error?: unknown }> => {
      try {
        return { state: 'done', value: await work() }
      } catch (error) {
        return { state: 'failed', cause: causeOf(error), error }
      }
    }
    const result = await endOf(attempt())
    if (result !== 'hangs') return result
    counts.hanging++
    return { state: 'hangs' }
  }
  return {
    counts,
    failures,
    unexpected,
    async make(work) {
      const result = await end(work)
      if (result.state !== 'failed') return result
      const { name, isExpected } = result.cause
      counts.failed++
      failures[name] = (failures[name] ?? 0) + 1
      if (!isExpected) unexpected[name] ??= inspect(result.error)
      return result
    },
    async makeLate(statement) {
      counts.late++
      if ((await end(statement)).state === 'done') counts.lateDone++
    },
  }
}
