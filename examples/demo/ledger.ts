/** The tables of the demo, and their content at the end, to compare with what the clients report. */
import { randomUUID } from 'node:crypto'
import type { Login } from 'pg-iam'
import { createClient } from 'pg-iam/pg'

/** The IDs of one client's two accounts. */
export interface Accounts {
  readonly from: string
  readonly to: string
}

/** The content of the tables for one client. */
export interface LedgerEntry {
  readonly notes: number
  /** The amounts that left the first account and arrived at the second one. */
  readonly sent: number
  readonly received: number
}

export interface Ledger {
  accountsOf(name: string): Accounts
  /** Reads the content of the tables for each client. */
  read(): Promise<ReadonlyMap<string, LedgerEntry>>
}

/** Creates the tables, with two empty accounts for each name. */
export async function createLedger(login: Login, names: readonly string[]): Promise<Ledger> {
  const accounts = new Map(names.map((name) => [name, { from: randomUUID(), to: randomUUID() }]))
  await withClient(login, async (query) => {
    await query('CREATE TABLE demo_note (id uuid PRIMARY KEY, client text NOT NULL)')
    await query('CREATE TABLE demo_account (id uuid PRIMARY KEY, balance integer NOT NULL)')
    for (const { from, to } of accounts.values())
      await query('INSERT INTO demo_account VALUES ($1, 0), ($2, 0)', [from, to])
  })
  return {
    accountsOf: (name) => accounts.get(name)!,
    read: () =>
      withClient(login, async (query) => {
        const noteRows = await query('SELECT client, count(*) FROM demo_note GROUP BY client')
        const notes = new Map(noteRows.map((row) => [row['client'], Number(row['count'])]))
        const accountRows = await query('SELECT id, balance FROM demo_account')
        const balances = new Map(accountRows.map((row) => [row['id'], Number(row['balance'])]))
        const entryOf = (name: string, { from, to }: Accounts): LedgerEntry => ({
          notes: notes.get(name) ?? 0,
          sent: -(balances.get(from) ?? 0),
          received: balances.get(to) ?? 0,
        })
        return new Map([...accounts].map(([name, pair]) => [name, entryOf(name, pair)]))
      }),
  }
}

type Query = (text: string, values?: string[]) => Promise<Record<string, unknown>[]>

async function withClient<T>(login: Login, work: (query: Query) => Promise<T>): Promise<T> {
  const client = createClient(login)
  await client.connect()
  try {
    return await work(async (text, values) => (await client.query(text, values)).rows)
  } finally {
    await client.end()
  }
}
