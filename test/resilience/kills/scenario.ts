/** The inputs and the report of a scenario with a lost connection. */
import type { Login } from '../../../core/index.js'
import type { ClientEntry, OpenClient, Work } from '../../clients/client.js'
import type { Rig } from '../rig.js'

export interface Scene {
  readonly rig: Rig
  readonly login: Login
  readonly entry: ClientEntry
  /** With a pool of one connection, so that a lost slot is noticed. */
  readonly client: OpenClient
  /** Runs a transaction, with our function or the client's own; counts the calls of `work`. */
  transaction(work: Work<void>): Promise<void>
  /** Resolves once the client has noticed that it has no connection left. */
  noticed(): Promise<void>
}

/** Causes the loss of a connection. Settles as the application's call does. */
export type Scenario = (scene: Scene) => Promise<unknown>

/** The result of a scenario. Passed between processes as JSON. */
export interface ScenarioReport {
  /** The error of the application's call and its causes: codes, or messages if there are none. */
  readonly error: readonly string[] | 'hangs' | undefined
  /** The number of calls of the transaction's function. */
  readonly runs: number
  /** The notes in the table afterwards. */
  readonly notes: readonly number[]
  /** The result of a query on the same pool afterwards. */
  readonly next: 'ok' | readonly string[] | 'hangs'
  /** Uncaught exceptions and unhandled rejections. */
  readonly crashes: readonly string[]
}
