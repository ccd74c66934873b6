/** The context of the contract's sections. */
import type { Login } from '../../../core/index.js'
import type { ClientEntry, OpenClient } from '../../clients/client.js'
import type { ContractProcess } from './contract-process.js'
import type { ContractProvider, Request } from './contract-provider.js'
import type { ContractServer } from './contract-server.js'
import { eventually } from '../eventually.js'

export interface ContractContext {
  readonly client: string
  readonly entry: ClientEntry
  readonly provider: ContractProvider
  /** The process that has run the tasks of this entry, for the sections that need one. */
  process(): ContractProcess
  /** The gateway, which is available while tests run. */
  server(): ContractServer
  /** Opens the client, which is closed at the end of the test. */
  open(login: Login, settings?: OpenSettings): OpenClient
  /** A number that no other test uses. */
  nextId(): number
}

export interface OpenSettings {
  /** Default 5. */
  readonly poolSize?: number
  readonly log?: (line: string) => void
  /** Options to use instead of those of the entry. */
  readonly options?: object
}

/** Creates a context within a `describe`, with hooks that close what its tests open. */
export function createContext(
  client: string,
  entry: ClientEntry,
  provider: ContractProvider,
  server: () => ContractServer,
  process: () => ContractProcess,
): ContractContext {
  const open = new Set<OpenClient>()
  afterEach(async () => {
    jest.useRealTimers()
    const databases = [...open]
    open.clear()
    await Promise.all(databases.map((database) => database.close()))
  })
  return {
    client,
    entry,
    provider,
    server,
    process,
    open(login, { poolSize = 5, log = () => {}, options } = {}) {
      const opened = entry.open(login, options ?? entry.options({ poolSize, log }))
      let closing: Promise<void> | undefined
      const database = { ...opened, close: () => (closing ??= opened.close()) }
      open.add(database)
      return database
    },
    nextId: () => nextId++,
  }
}

/** The tests of a single client use smaller ones. */
let nextId = 1_000

/** Calls `work` this number of times concurrently. */
export function atOnce<T>(times: number, work: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: times }, (_, index) => work(index)))
}

/**
 * Waits until this number of connections is open. A pool may open a connection for a query that has already run on another one, and
 * may detect lost connections with a delay.
 */
export function connectionsOpen(login: Login, database: OpenClient, count: number): Promise<void> {
  const { connections = () => login.stats().connectionsOpen } = database
  return eventually(`${count} open connections`, () => connections() === count)
}

/** The number of tokens for this number of connections that are opened within a minute. */
export function tokensFor({ provider }: ContractServer, connections: number): number {
  return provider.sharesTokens ? 1 : connections
}

/** Counts how often a login requests credentials. */
export function countCalls(request: Request): { request: Request; calls: () => number } {
  let calls = 0
  return {
    request: async () => {
      calls++
      return request()
    },
    calls: () => calls,
  }
}
