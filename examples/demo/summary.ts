/** The results of the demo, and whether it succeeded. */
import type { LedgerEntry } from './ledger.js'
import type { Refusal } from './refusals.js'

/** The counters of one client. */
export interface ClientSummary {
  readonly name: string
  /** The number of physical connections that logged in, and of those that are open. */
  readonly connections: number
  readonly open: number
  readonly tokens: number
  /** How often the login requested its credentials. */
  readonly credentials: number
  readonly queries: number
  readonly notes: number
  readonly transactions: number
  /** How often a transaction was retried after a conflict. */
  readonly conflicts: number
  readonly failures: number
  readonly errors: readonly unknown[]
}

export interface Summary {
  readonly clients: readonly ClientSummary[]
  readonly ledger: ReadonlyMap<string, LedgerEntry>
  readonly refusals: readonly Refusal[]
  /** Whether the demo was interrupted. */
  readonly isInterrupted: boolean
}

/**
 * Returns one sentence for each problem, or nothing. It is a problem if a client did nothing, or if its rows are not in the tables:
 * a demo that cannot fail would prove nothing.
 */
export function problemsOf({ clients, ledger, refusals, isInterrupted }: Summary): string[] {
  const idle = isInterrupted ? [] : clients.filter(({ queries }) => queries === 0)
  return [
    ...idle.map(({ name }) => `${name}: it did not run a single query.`),
    ...clients.flatMap((client) => clientProblems(client, ledger.get(client.name))),
    ...refusals
      .filter(({ isRefused }) => !isRefused)
      .map(({ token }) => `The bad token (${token}) was not refused for the expected reason.`),
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
  // A statement that failed at the client may still have taken effect at the server.
  if (failures > 0) return problems
  if (entry?.notes !== notes)
    problems.push(`${name}: ${notes} notes were written, but ${entry?.notes} were found.`)
  if (entry?.sent !== transactions || entry.received !== transactions) {
    const found = `${entry?.sent} were sent and ${entry?.received} received`
    problems.push(`${name}: ${transactions} transactions were committed, ${found}.`)
  }
  return problems
}
