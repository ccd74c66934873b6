/** Which clients take part, how heavy the load is, and what the processes send each other. */
import type { AuroraDsqlOptions } from '../../core/index.js'
import type { ResilientClient } from '../resilience/clients/resilient-client.js'
import type { Resources } from './resources.js'

export type ClientName = keyof typeof CLIENTS

/** Each in a file of its own, so that a process holds one client and not all of them. */
const CLIENTS = {
  sequelize: () => import('../resilience/clients/sequelize.js'),
  typeorm: () => import('../resilience/clients/typeorm.js'),
  knex: () => import('../resilience/clients/knex.js'),
  drizzle: () => import('../resilience/clients/drizzle.js'),
  'drizzle-postgres-js': () => import('../resilience/clients/drizzle-postgres-js.js'),
  pg: () => import('../resilience/clients/pg.js'),
  'postgres-js': () => import('../resilience/clients/postgres-js.js'),
} as const satisfies Record<string, () => Promise<{ client: ResilientClient }>>

export const CLIENT_NAMES = Object.keys(CLIENTS) as ClientName[]

export function isClientName(name: string): name is ClientName {
  return Object.hasOwn(CLIENTS, name)
}

export async function loadClient(name: ClientName): Promise<ResilientClient> {
  return (await CLIENTS[name]()).client
}

/** How long things last, in seconds. The server ends sessions; a pool that knows that replaces its connections before. */
export const TOKEN_SECS = 3
export const SESSION_SECS = 5
export const LIFETIME_SECS = 4

/** The part of all COMMITs that meet a conflict. */
export const CONFLICT_PROBABILITY = 0.1

/** Each client has two pools: one whose connections retire in time, and one whose sessions the server ends. */
export const POOLS_PER_CLIENT = 2
export const POOL_SIZE = 3

/** More than there are connections, so that some wait. */
export const TRANSFER_TASKS = 4
export const QUERY_TASKS = 2

/** The longest pause of a task between two calls; all clients share one machine with the gateway and the database. */
export const PAUSE_MS = 60

/** A pool is closed and opened again this often; in a short run once. */
export const POOL_LIFE_MS = 20_000

/** How often a connection has trouble besides, on average. */
export const TROUBLE_EVERY_MS = 6_000

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
  /** Transactions that a task began again after the connection was lost. */
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

export interface PoolOutcomes {
  readonly pool: number
  /** An `Outcome` for each identifier, from the pool's first. */
  readonly outcomes: Uint8Array
}

export interface ClientEnd {
  /** Missing where the process died before it had one. */
  readonly report: ClientReport | undefined
  /** The exit code or the signal; `hangs` where the process did not end by itself after its report. */
  readonly exit: number | NodeJS.Signals | 'hangs' | null
  /** The last that it wrote to its standard error. */
  readonly lastOutput: string
}
