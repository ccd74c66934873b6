/** How the processes of a fleet get their connections: the difference between the rows of the benchmark. */
import type { Region, Session } from '../region.js'
import type { VirtualTime } from '../virtual-time.js'

export interface Policy {
  /** The name in the tables. */
  readonly name: string
  readonly description: string
  /** Creates what one process opens its connections with. */
  createConnector(world: World): Connector
}

/** The environment of a policy: time, randomness and network are simulated. */
export interface World {
  time: VirtualTime
  random: () => number
  /** In the order in which they are tried. */
  regions: readonly Region[]
  /** Returns a random duration of one login: TCP, TLS and authentication. */
  loginMs: () => number
}

export interface Connector {
  /** Creates one slot of the pool, which opens one connection after another. */
  createPlace(callbacks: PlaceCallbacks): Place
  /** Returns a random age at which a connection is replaced. */
  lifetimeMs(): number
}

export interface PlaceCallbacks {
  /** Gets the connection, or nothing if the application gets an error. */
  done: (session: Session | undefined) => void
  /** Called when the service ends the connection. */
  ended: () => void
}

export interface Place {
  /** Called when a call of the application needs a connection. */
  connect(): void
  /** Called when the call is repeated after it failed. */
  connectAgain(): void
}
