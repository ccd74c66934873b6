/** The load of the soak, and the messages between its processes. */
import type { AuroraDsqlOptions } from '../../core/index.js'
import type { ClientName } from '../clients/index.js'
import type { Resources } from './resources.js'

/** Lifetimes in seconds. The server ends sessions. A pool with the matching lifetime replaces its connections before. */
export const TOKEN_SECS = 3
export const SESSION_SECS = 5
export const LIFETIME_SECS = 4

/** The fraction of COMMITs that fail with a conflict. */
export const CONFLICT_PROBABILITY = 0.1

/** Each client has two pools: one whose connections are replaced in time, and one whose sessions the server ends. */
export const POOLS_PER_CLIENT = 2
export const POOL_SIZE = 3

/** More than the connections, so that some tasks wait. */
export const TRANSFER_TASKS = 4
export const QUERY_TASKS = 2

/** The longest pause of a task between two calls. All clients share one machine with the gateway and the database. */
export const PAUSE_MS = 60

/** How often a pool is closed and opened again; in a short run once. */
export const POOL_LIFE_MS = 20_000

/** The average interval of injected faults per connection. */
export const TROUBLE_EVERY_MS = 6_000

/** The first message to a client's process. */
export interface ClientOrder {
  readonly client: ClientName
  readonly seed: number
  readonly login: AuroraDsqlOptions
  /** The number of its first pool. The IDs that a pool writes depend on its number. */
  readonly firstPool: number
  readonly poolLifeMs: number
}

/** The second message: to shut down cleanly. */
export const STOP = 'stop'

export type ClientMessage =
  | { readonly type: 'progress'; readonly counts: CallCounts }
  | { readonly type: 'report'; readonly report: ClientReport }

export interface CallCounts {
  /** Successful statements, inside and outside of transactions, without BEGIN and COMMIT. */
  queries: number
  /** Confirmed transactions. */
  confirmed: number
  /** Transactions that a task repeated after the connection was lost. */
  repeated: number
  /** Failed calls of the application. */
  failed: number
  /** Calls that did not end. */
  hanging: number
  /** Statements sent after the end or the failure of their transaction. */
  late: number
  /** Those of them that were not rejected. */
  lateDone: number
}

/** The counters of a client's logins. */
export interface ConnectionCounts {
  connections: number
  /** Connections that replaced another one. */
  reconnects: number
  tokens: number
  /** Transactions that were retried after a conflict. */
  conflicts: number
}

export interface ClientReport {
  readonly calls: CallCounts
  readonly connections: ConnectionCounts
  /** Failed calls by cause. */
  readonly failures: Readonly<Record<string, number>>
  /** Unexpected causes, with the first error of each. */
  readonly unexpected: Readonly<Record<string, string>>
  readonly crashes: readonly string[]
  /** Warnings of Node about a growing number of listeners. */
  readonly warnings: readonly string[]
  /** What pools left open, in words. */
  readonly leftBehind: readonly string[]
  /** Open handles and requests by kind, before the first pool was opened and after the last one was closed. */
  readonly resourcesBefore: Resources
  readonly resourcesAfter: Resources
  /** Bytes of heap in use after each pool was closed, after a garbage collection. */
  readonly heap: readonly number[]
  /** The outcome of each ID, by pool. */
  readonly outcomes: readonly PoolOutcomes[]
}

export interface PoolOutcomes {
  readonly pool: number
  /** An `Outcome` for each ID, from the pool's first. */
  readonly outcomes: Uint8Array
}

export interface ClientEnd {
  /** Missing if the process ended without a report. */
  readonly report: ClientReport | undefined
  /** The exit code or the signal; `hangs` if the process did not end after its report. */
  readonly exit: number | NodeJS.Signals | 'hangs' | null
  /** The last output on standard error. */
  readonly lastOutput: string
}
