/** What every section of the contract works with. */
import type { Login } from '../../../core/index.js'
import type { AdapterVariant, Database } from './adapter-driver.js'
import type { ContractProvider, Request } from './contract-provider.js'
import type { ContractServer } from './contract-server.js'
import { eventually } from './eventually.js'

export interface ContractContext {
  readonly client: string
  readonly variant: AdapterVariant
  readonly provider: ContractProvider
  /** The gateway, there while tests run. */
  server(): ContractServer
  /** Opens the client; it is closed at the end of the test. */
  open(login: Login, settings?: OpenSettings): Database
  /** A number that no other test uses. */
  nextId(): number
}

export interface OpenSettings {
  /** Default 5. */
  readonly poolSize?: number
  readonly log?: (line: string) => void
  /** Options to use in place of the variant's own. */
  readonly options?: object
}

/** Sets up a context within a `describe`, with hooks that close what its tests open. */
export function createContext(
  client: string,
  variant: AdapterVariant,
  provider: ContractProvider,
  server: () => ContractServer,
): ContractContext {
  const open = new Set<Database>()
  afterEach(async () => {
    jest.useRealTimers()
    const databases = [...open]
    open.clear()
    await Promise.all(databases.map((database) => database.close()))
  })
  return {
    client,
    variant,
    provider,
    server,
    open(login, { poolSize = 5, log = () => {}, options } = {}) {
      const opened = variant.open(login, options ?? variant.options({ poolSize, log }))
      let closing: Promise<void> | undefined
      const database = { ...opened, close: () => (closing ??= opened.close()) }
      open.add(database)
      return database
    },
    nextId: () => nextId++,
  }
}

let nextId = 1

/** Runs `work` as often as that, all at once. */
export function atOnce<T>(times: number, work: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: times }, (_, index) => work(index)))
}

/**
 * Waits until as many connections are open. A pool opens connections for queries that others may have done by the time they
 * are open, and notices lost ones in its own time.
 */
export function connectionsOpen(login: Login, database: Database, count: number): Promise<void> {
  const { connections = () => login.stats().connectionsOpen } = database
  return eventually(`${count} open connections`, () => connections() === count)
}

/** How many tokens so many connections cost that are opened within a minute. */
export function tokensFor({ provider }: ContractServer, connections: number): number {
  return provider.sharesTokens ? 1 : connections
}

/** Counts how often a login asks for credentials. */
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
