/** What the demo has every client do, so that it can show seven of them side by side. */
import type { Login } from 'pg-iam'

/** One client at work. Each method is one query, but for `transfer`, which is two in a transaction. */
export interface DemoClient {
  /** Reads how many notes this client has written. */
  countNotes(): Promise<number>
  /** Writes a note. */
  addNote(): Promise<void>
  /** Moves 1 from the client's one account to its other, as often as it takes where it meets conflicts. */
  transfer(): Promise<void>
  close(): Promise<void>
}

export interface DemoClientSettings {
  readonly login: Login
  /** The name under which the client writes its notes. */
  readonly name: string
  readonly poolSize: number
  /** The identifiers of the client's two accounts. */
  readonly from: string
  readonly to: string
}

/** Opens a client through its adapter. */
export type OpenDemoClient = (settings: DemoClientSettings) => Promise<DemoClient>
