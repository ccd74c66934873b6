/** What the benchmarks need of a client. */
import type { Login } from '../../../core/index.js'
import type { StaticLogin } from '../../postgres/tls-postgres.js'

/** One client, opened as its own documentation has it, and with pg-iam. Both get the same pool and the same TLS. */
export interface BenchClient {
  readonly name: string
  openStatic(login: StaticLogin, poolSize: number): BenchPool | Promise<BenchPool>
  openOurs(login: Login, poolSize: number): BenchPool | Promise<BenchPool>
}

/** Connections that are idle stay open: whose turn it is must not decide who has to open new ones. */
export interface BenchPool {
  /** Runs the cheapest query there is, so that whatever comes on top of it weighs most. */
  query(): Promise<unknown>
  close(): Promise<void>
}

export const QUERY = 'SELECT 1 AS one'
