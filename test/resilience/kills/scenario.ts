/** What a scenario of a dying connection works with, and what it reports. */
import type { Login } from '../../../core/index.js'
import type { ClientEntry, OpenClient, Work } from '../clients/resilient-client.js'
import type { Rig } from '../rig.js'

export interface Scene {
  readonly rig: Rig
  readonly login: Login
  readonly entry: ClientEntry
  /** With a pool of one connection, so that a slot that is lost is missed. */
  readonly client: OpenClient
  /** Runs a transaction, by our function or by the client's own; counts how often `work` is called. */
  transaction(work: Work<void>): Promise<void>
  /** Resolves once the client knows that it has no connection left. */
  noticed(): Promise<void>
}

/** Does something to a connection. Resolves or rejects as the application's call does. */
export type Scenario = (scene: Scene) => Promise<unknown>

/** How a scenario ended. It goes from one process to another as JSON. */
export interface ScenarioReport {
  /** What the application's call rejected with, and what that was made from: codes, or messages where there are none. */
  readonly error: readonly string[] | 'hangs' | undefined
  /** How often the function of the transaction was called. */
  readonly runs: number
  /** The notes in the table afterwards. */
  readonly notes: readonly number[]
  /** What became of a query on the same pool afterwards. */
  readonly next: 'ok' | readonly string[] | 'hangs'
  /** Exceptions that nothing caught, and rejections that nobody waited for. */
  readonly crashes: readonly string[]
}
