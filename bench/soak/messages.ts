/** What the soak and the processes of its clients tell each other. */
import type { AuroraDsqlOptions } from '../../core/index.js'
import type { ClientName } from './clients.js'

/** The first message to a client's process. */
export interface ClientOrder {
  readonly client: ClientName
  readonly seed: number
  readonly login: AuroraDsqlOptions
  /** The number of its first pool; the identifiers that a pool writes follow from its number. */
  readonly firstPool: number
  readonly poolLifeMs: number
}

/** The second message to it: to end in good order. */
export const STOP = 'stop'

export type ClientMessage =
  | { readonly type: 'progress'; readonly counts: CallCounts }
  | { readonly type: 'report'; readonly report: ClientReport }

export interface CallCounts {
  /** Statements that succeeded, in transactions or not, without BEGIN and COMMIT. */
  queries: number
  /** Transactions that were confirmed. */
  confirmed: number
  /** Transactions that a task began anew after the connection was lost. */
  repeated: number
  /** Calls of the application that failed. */
  failed: number
  /** Calls that did not end. */
  hanging: number
  /** Statements of transactions that were over or dead. */
  late: number
  /** Those of them that were not refused. */
  lateDone: number
}

/** What the logins of a client counted. */
export interface ConnectionCounts {
  connections: number
  /** Connections that took the place of another one. */
  reconnects: number
  tokens: number
  /** Transactions that ran again after a conflict. */
  conflicts: number
}

export interface ClientReport {
  readonly calls: CallCounts
  readonly connections: ConnectionCounts
  /** Failed calls by cause. */
  readonly failures: Readonly<Record<string, number>>
  /** Causes that are not expected, with the first error of each. */
  readonly unexpected: Readonly<Record<string, string>>
  readonly crashes: readonly string[]
  /** Warnings of Node about what piles up. */
  readonly warnings: readonly string[]
  /** What was left behind by pools, in words. */
  readonly leftBehind: readonly string[]
  /** Open handles and requests by kind, before the first pool was opened and after the last one was closed. */
  readonly resourcesBefore: Resources
  readonly resourcesAfter: Resources
  /** Bytes of heap in use after each life of its pools, after a collection. */
  readonly heap: readonly number[]
  /** What became of each identifier, by pool. */
  readonly outcomes: readonly PoolOutcomes[]
}

export type Resources = Readonly<Record<string, number>>

export interface PoolOutcomes {
  readonly pool: number
  /** An `Outcome` for each identifier, from the pool's first. */
  readonly outcomes: Uint8Array
}
