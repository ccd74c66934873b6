/** What the processes of this benchmark are told to measure, and what they answer. */
import type { StaticLogin } from '../postgres/tls-postgres.js'

export interface LoginsOrder {
  readonly counts: readonly number[]
  readonly rounds: number
  /** Made in turn by all logins together, in each sample. */
  readonly tokens: number
  /** Logins made in each sample of the time that takes; a multiple of all counts. */
  readonly created: number
  readonly seed: number
}

export const PROVIDERS = ['Aurora DSQL', 'RDS', 'Entra ID'] as const
export type Provider = (typeof PROVIDERS)[number]

/** Samples of so many logins of a provider. */
export interface LoginsFigures {
  readonly provider: Provider
  readonly logins: number
  readonly tokenMicros: readonly number[]
  readonly createMicros: readonly number[]
  /** What all of them hold, each after its first token. */
  readonly heapBytes: readonly number[]
}

export interface AtOnceOrder {
  readonly login: 'static password' | 'pg-iam'
  readonly server: StaticLogin
  readonly counts: readonly number[]
  /** Connections that are opened for each count, at the least; a small count is measured often. */
  readonly connections: number
}

export interface OwnPartOrder {
  readonly parts: readonly OwnPart[]
  readonly counts: readonly number[]
  /** Opened for each count in each round, at the least. */
  readonly connections: number
  readonly rounds: number
}

export const PACES = ['the pace alone', 'the pace alone, connectRate of 10,000'] as const
export const WHOLE = ['all of it', 'all of it, after a refusal'] as const
export type OwnPart = (typeof PACES | typeof WHOLE)[number]

/** Samples of so many connections at once, each by its own. */
export interface OwnPartFigures {
  readonly part: OwnPart
  readonly connections: number
  readonly micros: readonly number[]
}

/** The same over a network. */
export interface AtOnceFigures {
  readonly connections: number
  /** From the first request until all are open, divided by their number. */
  readonly millis: readonly number[]
  /** Processor time of the client's process meanwhile, divided by their number. */
  readonly cpuMillis: readonly number[]
}

export interface PeerOrder {
  /** PEM text. */
  readonly certificate: string
  readonly privateKey: string
}

export interface PeerAddress {
  readonly port: number
}
