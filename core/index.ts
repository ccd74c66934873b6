/** What `import ... from 'pg-iam'` gives. */
export { auroraDsql, type AuroraDsqlOptions } from './providers/aurora-dsql/aurora-dsql.js'
export type { AwsCredentials, AwsCredentialsProvider } from './providers/aws/credentials.js'
export type { AssumeRoleOptions } from './providers/aws/credentials-provider.js'
export { isOccConflict } from './conflict/is-occ-conflict.js'
export { retryOnConflict } from './conflict/retry-on-conflict.js'
export type { Retry, RetryOptions } from './conflict/retry-options.js'
export { PgIamError, isPgIamError, type PgIamErrorCode, type PgIamErrorOptions } from './errors.js'
export type {
  ConnectionOpenedEvent,
  ConnectionRetiredEvent,
  EventsByChannel,
  LoginIdentity,
  TokenFailedEvent,
  TokenMadeEvent,
  TokenReusedEvent,
} from './events.js'
export type { Logger } from './logger.js'
export type { Address, Login, ProviderName } from './login.js'
export { loginFromEnv, loginFromUrl, type LoginFromOptions } from './login-from.js'
export type { CommonOptions } from './options/common-options.js'
export type { LoginStats } from './tokens/login-counters.js'
export type { Token } from './tokens/token.js'
export type { TlsNegotiation, TlsOptions, VerifiedTls } from './tls/verified-tls.js'
