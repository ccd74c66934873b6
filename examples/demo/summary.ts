/** What the demo found in the end, and whether that is a success. */
import type { LedgerEntry } from './ledger.js'
import type { Refusal } from './refusals.js'

/** The counts of one client. */
export interface ClientSummary {
  readonly name: string
  /** Physical connections that logged in, and those of them that are open now. */
  readonly connections: number
  readonly open: number
  readonly tokens: number
  /** How often its credentials were asked for. */
  readonly credentials: number
  readonly queries: number
  readonly notes: number
  readonly transactions: number
  /** How often a transaction met a conflict and was run again. */
  readonly conflicts: number
  readonly failures: number
  readonly errors: readonly unknown[]
}

export interface Summary {
  readonly clients: readonly ClientSummary[]
  readonly ledger: ReadonlyMap<string, LedgerEntry>
  readonly refusals: readonly Refusal[]
  /** Whether the demo was ended before its time. */
  readonly isInterrupted: boolean
}

/**
 * Says what went wrong, one sentence each; nothing for a success. A client that did nothing counts as wrong, and so does one
 * whose rows are not in the tables: a demo that cannot fail would show nothing.
 */
export function problemsOf({ clients, ledger, refusals, isInterrupted }: Summary): string[] {
  const idle = isInterrupted ? [] : clients.filter(({ queries }) => queries === 0)
  return [
    ...idle.map(({ name }) => `${name}: it did not run a single query.`),
    ...clients.flatMap((client) => clientProblems(client, ledger.get(client.name))),
    ...refusals
      .filter(({ isRefused }) => !isRefused)
      .map(({ token }) => `The bad token (${token}) was not refused as it should be.`),
  ]
}

function clientProblems(client: ClientSummary, entry: LedgerEntry | undefined): string[] {
  const { name, open, notes, transactions, failures, errors } = client
  const problems: string[] = []
  if (failures > 0) {
    const examples = errors.map((error) => `  ${String(error)}`)
    problems.push([`${name}: ${failures} failed.`, ...examples].join('\n'))
  }
  if (open > 0) problems.push(`${name}: ${open} of its connections were not closed.`)
  // A statement that failed on the client's side may still have been done by the server.
  if (failures > 0) return problems
  if (entry?.notes !== notes)
    problems.push(`${name}: ${notes} notes were written and ${entry?.notes} are there.`)
  if (entry?.sent !== transactions || entry.received !== transactions) {
    const found = `${entry?.sent} were sent and ${entry?.received} received`
    problems.push(`${name}: ${transactions} transactions were committed, ${found}.`)
  }
  return problems
}
