/** The work of a client in the demo, with the statements and the transaction function that the tests use. */
import { randomUUID } from 'node:crypto'
import type { Login } from 'pg-iam'
import { openClient, type Client } from '../../test/clients/client.js'

/** A running client. Each method is one query, except `transfer`, which is two in a transaction. */
export interface DemoClient {
  /** Returns the number of notes that this client has written. */
  countNotes(): Promise<number>
  /** Writes a note. */
  addNote(): Promise<void>
  /** Transfers 1 between the client's two accounts, and retries on conflicts. */
  transfer(): Promise<void>
  close(): Promise<void>
}

export interface DemoClientSettings {
  readonly login: Login
  readonly poolSize: number
  /** The IDs of the client's two accounts. */
  readonly from: string
  readonly to: string
}

/** Opens a client through its adapter, in the recommended way. */
export function openDemoClient(
  { name, entries }: Client,
  { login, poolSize, from, to }: DemoClientSettings,
): DemoClient {
  const client = openClient(entries[0]!, login, poolSize)
  const change = (id: string, amount: number): string =>
    `UPDATE demo_account SET balance = balance + ${amount} WHERE id = '${id}'`
  return {
    async countNotes() {
      const [row] = await client.run(
        `SELECT count(*)::int AS count FROM demo_note WHERE client = '${name}'`,
      )
      return Number(row?.['count'])
    },
    async addNote() {
      await client.run(`INSERT INTO demo_note (id, client) VALUES ('${randomUUID()}', '${name}')`)
    },
    transfer: () =>
      client.transaction(async (statements) => {
        await statements.run(change(from, -1))
        await statements.run(change(to, 1))
      }),
    close: () => client.close(),
  }
}
