/** Makes the calls of the application, and counts what comes of them. */
import { inspect } from 'node:util'
import { endOf } from '../../../test/resilience/until.js'
import { causeOf, type Cause } from '../causes.js'
import type { CallCounts } from '../messages.js'

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
  /** Sends a statement that must be refused; never rejects. */
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
