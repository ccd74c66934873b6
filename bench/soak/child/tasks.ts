/** What the tasks on a pool do, over and over. */
import { setTimeout as delay } from 'node:timers/promises'
import type { OpenClient } from '../../../test/resilience/clients/resilient-client.js'
import { PAUSE_MS } from '../load.js'
import { Outcome, type OutcomeLog } from '../outcome.js'
import { accountId } from '../schema.js'
import type { Calls } from './calls.js'
import { chooseTransfer, moveMoney, type LateStatements } from './transfer.js'

export interface TaskContext {
  readonly pool: number
  readonly client: OpenClient
  readonly calls: Calls
  readonly outcomes: OutcomeLog
  readonly late: LateStatements
  readonly random: () => number
  /** Fires when the task is to end. */
  readonly signal: AbortSignal
}

type Step = (context: TaskContext) => Promise<'goes on' | 'hangs'>

/** Repeats `step` until the signal fires, with pauses. Never rejects. What hangs is not asked again. */
export async function runTask(step: Step, context: TaskContext): Promise<void> {
  const { random, signal } = context
  while (!signal.aborted) {
    if ((await step(context)) === 'hangs') return
    await delay(random() * PAUSE_MS)
  }
}

/** A single statement: it reads, or it writes a row. */
export const query: Step = async ({ pool, client, calls, outcomes, random }) => {
  const chance = random()
  if (chance < 0.5) {
    const id = outcomes.next()
    const { state } = await calls.make(() => client.insert(id))
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
 * A transfer in our transaction function. Where it was lost it is tried again under the same identifier, as an application
 * would, but not where its outcome is unknown.
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
