/** Why calls of the application fail. */
import { isPgIamError } from '../../core/index.js'
import { errorChain } from '../../test/support/adapter-contract/error-chain.js'

export interface Cause {
  readonly name: string
  /** Whether a run with such troubles must bring it about, and an application must live with it. */
  readonly isExpected: boolean
}

/** What a task throws to have its transaction rolled back. */
export const CHANGED_MIND = 'CHANGED_MIND'

export function causeOf(error: unknown): Cause {
  const chain = errorChain(error)
  if (isPgIamError(error, 'ERR_OUTCOME_UNKNOWN')) return { name: error.code, isExpected: true }
  const codes = chain.map((link) => (link as { code?: unknown }).code)
  const expected = EXPECTED_CODES.find((code) => codes.includes(code))
  if (expected !== undefined) return { name: expected, isExpected: true }
  const messages = chain.map((link) => (link as { message?: unknown }).message)
  const loss = messages.map((message) => LOSSES.exec(String(message))?.[0]).find(Boolean)
  if (loss !== undefined) return { name: loss, isExpected: true }
  const known = codes.find((code) => typeof code === 'string') ?? messages[0] ?? error
  return { name: String(known), isExpected: false }
}

/** The connection was lost, as the server, the network or a driver puts it. */
const EXPECTED_CODES = [CHANGED_MIND, '57P01', 'ECONNRESET', 'CONNECTION_CLOSED'] as const

/** What pg says, and TypeORM, where the connection is lost between its checkout and BEGIN, which no code tells. */
const LOSSES = /Connection terminated unexpectedly|not queryable|Query runner already released/
