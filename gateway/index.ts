/** The public surface of `pg-iam/gateway`. */
export { startGateway } from './gateway.js'
export type { Gateway, GatewayCloseOptions, GatewayEndpoint } from './gateway.js'
export { handleConnection } from './connection/handle-connection.js'
export type { ErrorToSend, ServerConnection } from './connection/handle-connection.js'
export type {
  AuthMethod,
  ClientCredentials,
  ConnectionAuth,
  ConnectionStartup,
  ConnectionState,
  ConnectionTls,
  HandleConnectionOptions,
  CancelRequest,
  HookReply,
  RefusedLogin,
} from './connection/connection-options.js'
export type { RewrittenReply, SessionRewriter } from './connection/session-rewriter.js'
export { createLimits } from './connection/limits.js'
export type { LimitOptions, Limits } from './connection/limits.js'
export type { TlsCredentials, TlsLookup } from './connection/tls.js'
export { iamAuth } from './auth/iam-auth.js'
export type { IamAuthOptions } from './auth/iam-auth.js'
export * from '../wire/replies.js'
export { errorResponse, ServerError } from '../wire/error-response.js'
export type { ServerErrorOptions } from '../wire/error-response.js'
export { parameterStatus, readyForQuery } from '../wire/messages.js'
export { createReplyTracker, eachMessage } from '../wire/framing.js'
export type { ReplyTracker } from '../wire/framing.js'
export { readFrontendMessage } from '../wire/frontend.js'
export type { FrontendMessage } from '../wire/frontend.js'
export { ProtocolViolation } from '../wire/framing.js'
export { startupPacketOf as startupPacket } from './connection/startup.js'
export { pgliteEngine } from './engines/pglite/pglite-engine.js'
export type { PgliteEngineOptions } from './engines/pglite/pglite-engine.js'
export type { PgliteLike } from './engines/pglite/backend.js'
export type { GatewayCredentials, TemporaryCredentials } from './auth/aws.js'
export type { PrincipalOptions } from './auth/aws.js'
export type { IssueOptions } from './auth/aws.js'
export type { AuroraDsqlEndpoint } from './auth/aurora-dsql.js'
export type { CertificateEndpoint } from './auth/certificate.js'
export type { CloudSqlEndpoint } from './auth/cloud-sql.js'
export type { EndpointProvider } from './auth/endpoint.js'
export type { EndpointOptions } from './auth/endpoints.js'
export type { EntraEndpoint } from './auth/entra/endpoint.js'
export type { EntraPrincipal } from './auth/entra/verifier.js'
export type { NoneEndpoint } from './auth/none.js'
export type { PasswordEndpoint } from './auth/password.js'
export type { PasswordLookup } from './auth/password.js'
export type { PublishedKeySet } from './auth/published-keys.js'
export type { RdsEndpoint } from './auth/rds.js'
export type { RedshiftEndpoint, RedshiftUser } from './auth/redshift.js'
export type { RefusalReason } from './auth/refusal.js'
export type { WebIdentityOptions } from './auth/web-identity.js'
export type { Engine, EnginePlace, EngineSession, SessionRequest } from './engines/engine.js'
export { postgresEngine } from './engines/postgres/postgres-engine.js'
export type { PostgresEngineOptions } from './engines/postgres/postgres-engine.js'
export type {
  EndpointUpstream,
  UpstreamClient,
  UpstreamOptions,
  UpstreamTarget,
} from './engines/upstream.js'
export { upstreamEngine } from './engines/upstream.js'
export type { UpstreamEngineOptions } from './engines/upstream.js'
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
export type { GatewaySession } from './faults/faults.js'
export type { GatewayLoginOptions } from './login.js'
export type { GatewayStats } from './stats.js'
export type { EngineName, GatewayOptions } from './options.js'
export type { WebSocketOptions } from './web-sockets.js'
