/** The public surface of `pg-iam/gateway`. */
export { startGateway } from './gateway.js'
export type { Gateway } from './gateway.js'
export type { GatewayCredentials, TemporaryCredentials } from './auth/gateway-credentials.js'
export type { PrincipalOptions } from './auth/principals.js'
export type { RefusalReason } from './auth/refusal.js'
export type { IssueOptions } from './auth/temporary-credentials.js'
export type { UpstreamOptions } from './engines/upstream/upstream-address.js'
export type {
  ConflictCode,
  ConflictOptions,
  ConnectionLimits,
  CutOptions,
  CutStage,
  RejectOptions,
  TimesOptions,
} from './faults/fault-options.js'
export type { GatewayFaults } from './faults/faults.js'
export type { GatewaySession } from './faults/session-registry.js'
export type { GatewayStats } from './gateway-stats.js'
export type { GatewayOptions } from './options.js'
