/** What the benchmark and the process of its gateway tell each other. */
import type { UpstreamOptions } from '../../gateway/index.js'

/** The first message to the process. */
export interface GatewayOrder {
  /** The database of RDS that it stands for. */
  readonly host: string
  readonly role: string
  readonly database: string
  readonly upstream: UpstreamOptions
}

/** Its answer: where it listens. */
export interface GatewayReady {
  readonly port: number
  readonly ca: string
}

/** Every later message to it. */
export type GatewayRequest = 'cpu' | 'stop'

/** The answer to `cpu`: the processor time of the process since its start, in microseconds. */
export type GatewayCpu = number
