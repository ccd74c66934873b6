/** What a process is told to do again and again, and how its memory went meanwhile. */
import type { MemoryUse } from '../common/process/memory-use.js'
import type { StaticLogin } from '../postgres/tls-postgres.js'

export interface GrowthOrder {
  readonly work: WorkOrder
  readonly effort: GrowthEffort
}

export interface GrowthEffort {
  /** So often before the first sample: what is compiled and loaded on the way is not what grows. */
  readonly warmUp: number
  /** So often from the first sample to the last. */
  readonly amount: number
  /** Samples behind the first. Divides `amount`. */
  readonly samples: number
}

export type WorkOrder =
  | { readonly kind: 'tokens'; readonly tokens: TokenKind }
  | {
      readonly kind: 'connections'
      readonly client: ConnectionClient
      /** Whose password it is: a static one of the driver's, or the token of a login of ours. */
      readonly login: 'static password' | 'pg-iam'
      readonly server: StaticLogin
    }

export const TOKEN_KINDS = [
  'pg-iam, Aurora DSQL',
  "the AWS SDK's signer, Aurora DSQL",
  'pg-iam, RDS',
  'pg-iam, Entra ID',
] as const
export type TokenKind = (typeof TOKEN_KINDS)[number]

export const CONNECTION_CLIENTS = ['pg', 'Postgres.js'] as const
export type ConnectionClient = (typeof CONNECTION_CLIENTS)[number]

export interface MemorySample extends MemoryUse {
  /** How often the work was done before it. */
  readonly done: number
}
