/** The exports of `'pg-iam'`. */
export { auroraDsql, type AuroraDsqlOptions } from './providers/aurora-dsql.js'
export type { AwsCredentials, AwsCredentialsProvider } from './providers/aws/credentials.js'
export type { AssumeRoleOptions } from './providers/aws/credentials-provider.js'
export { cloudSql, type CloudSqlOptions } from './providers/cloud-sql/cloud-sql.js'
export type {
  GoogleAuthClient,
  GoogleAuthSource,
  GoogleCredentials,
  GoogleCredentialsProvider,
} from './providers/cloud-sql/token.js'
export type { AzureCloud } from './providers/host-names.js'
export type {
  AzureAccessToken,
  AzureCredentialProvider,
  AzureTokenCredential,
} from './providers/entra/token.js'
export { customLogin, type CustomLoginOptions } from './providers/custom.js'
export type { GetToken, GivenToken, TokenContext } from './providers/custom.js'
export { entra, type EntraOptions } from './providers/entra/entra.js'
export { redshift, type RedshiftOptions } from './providers/redshift/redshift.js'
export { rds, type RdsOptions } from './providers/rds/rds.js'
export { streamFactory, type StreamFactoryOptions } from './stream-factory.js'
export { insertInChunks, type InsertInChunksOptions } from './transactions/insert-in-chunks.js'
export { isOccConflict } from './transactions/is-occ-conflict.js'
export { retryOnConflict } from './transactions/retry.js'
export type { Retry, RetryOptions } from './transactions/retry.js'
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
export type { Logger } from './events.js'
export type { Address } from './connection/log-in.js'
export type { Login, ProviderName } from './login.js'
export { loginFromEnv, loginFromUrl, type LoginFromOptions, type LoginOrUrl } from './login-from.js'
export type { CommonOptions } from './options/common-options.js'
export type { LoginStats } from './tokens/token-source.js'
export type { Token } from './tokens/token.js'
export type { TlsNegotiation, TlsOptions, TlsVersion, VerifiedTls } from './tls.js'
