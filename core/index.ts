/** What `import ... from 'pg-iam'` gives. */
export { auroraDsql, type AuroraDsqlOptions } from './providers/aurora-dsql/aurora-dsql.js'
export type { AwsCredentials, AwsCredentialsProvider } from './providers/aws/credentials.js'
export type { AssumeRoleOptions } from './providers/aws/credentials-provider.js'
export { cloudSql, type CloudSqlOptions } from './providers/cloud-sql/cloud-sql.js'
export type {
  GoogleAuthClient,
  GoogleAuthSource,
  GoogleCredentials,
  GoogleCredentialsProvider,
} from './providers/cloud-sql/credential.js'
export type { AzureCloud } from './providers/entra/cloud.js'
export type {
  AzureAccessToken,
  AzureCredentialProvider,
  AzureTokenCredential,
} from './providers/entra/credential.js'
export { customLogin, type CustomLoginOptions } from './providers/custom/custom-login.js'
export type { GetToken, GivenToken, TokenContext } from './providers/custom/token.js'
export { entra, type EntraOptions } from './providers/entra/entra.js'
export { redshift, type RedshiftOptions } from './providers/redshift/redshift.js'
export { rds, type RdsOptions } from './providers/rds/rds.js'
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
export { loginFromEnv, loginFromUrl, type LoginFromOptions, type LoginOrUrl } from './login-from.js'
export type { CommonOptions } from './options/common-options.js'
export type { LoginStats } from './tokens/login-counters.js'
export type { Token } from './tokens/token.js'
export type { TlsNegotiation, TlsOptions, TlsVersion, VerifiedTls } from './tls/verified-tls.js'
