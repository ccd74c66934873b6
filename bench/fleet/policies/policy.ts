/** How the processes of a fleet get their connections: what differs between the lines of the benchmark. */
import type { Region, Session } from '../region.js'
import type { VirtualTime } from '../virtual-time.js'

export interface Policy {
  /** As in the tables and charts. */
  readonly name: string
  readonly description: string
  /** What one process opens its connections with. */
  createConnector(world: World): Connector
}

/** What a policy may use: time, chance and network are the simulation's. */
export interface World {
  time: VirtualTime
  random: () => number
  /** In the order in which they are to be tried. */
  regions: readonly Region[]
  /** Draws the time of one login: TCP, TLS and authentication. */
  loginMs: () => number
}

export interface Connector {
  /** Opens a connection. `done` gets it, or nothing when the application is told that there is none; `ended` is called when the service ends it. */
  connect(ended: () => void, done: (session: Session | undefined) => void): void
  /** What comes after a failed call: calls `again` when the next one is due. */
  afterFailure(again: () => void): void
  /** Draws the age at which a connection is replaced. */
  lifetimeMs(): number
}
