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
  /** Makes what opens the connections of one place in the pool, one after another. */
  createPlace(callbacks: PlaceCallbacks): Place
  /** Draws the age at which a connection is replaced. */
  lifetimeMs(): number
}

export interface PlaceCallbacks {
  /** Gets the connection, or nothing when the application is told that there is none. */
  done: (session: Session | undefined) => void
  /** Is called when the service ends the connection. */
  ended: () => void
}

export interface Place {
  /** What a call of the application begins that needs a connection. */
  connect(): void
  /** The same call, made again after it failed. */
  connectAgain(): void
}
