/** The interface of the demo's clients, which is the same for all seven. */
import type { Login } from 'pg-iam'

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
  /** The name under which the client writes its notes. */
  readonly name: string
  readonly poolSize: number
  /** The IDs of the client's two accounts. */
  readonly from: string
  readonly to: string
}

/** Opens a client through its adapter. */
export type OpenDemoClient = (settings: DemoClientSettings) => Promise<DemoClient>
