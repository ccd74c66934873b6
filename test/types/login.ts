/** Valid user code for logins compiles, and invalid code does not. Nothing here runs. */
import { fromNodeProviderChain, fromTemporaryCredentials } from '@aws-sdk/credential-providers'
import { DefaultAzureCredential, ManagedIdentityCredential } from '@azure/identity'
import { Compute, GoogleAuth } from 'google-auth-library'
import {
  auroraDsql,
  cloudSql,
  customLogin,
  entra,
  isPgIamError,
  loginFromEnv,
  loginFromUrl,
  rds,
  redshift,
  type Login,
  type LoginStats,
  type PgIamErrorCode,
  type Token,
} from '../../core/index.js'

export const login: Login = auroraDsql({
  host: 'abcdefghijklmnopqrstuvwx12.dsql.us-east-1.on.aws',
  user: 'app',
  tls: { ca: '/etc/ssl/ca.pem' },
  connectTo: { host: '127.0.0.1', port: 5433 },
})

auroraDsql({ user: 'app', credentials: { accessKeyId: 'AKIA', secretAccessKey: 'secret' } })
auroraDsql({ user: 'app', credentials: fromNodeProviderChain() })
auroraDsql({
  user: 'app',
  customCredentialsProvider: fromTemporaryCredentials({ params: { RoleArn: 'arn' } }),
})
auroraDsql({
  user: 'app',
  credentials: async () => ({ accessKeyId: 'AKIA', secretAccessKey: 's', expiration: new Date() }),
})
loginFromUrl('postgres://app@abc.dsql.us-east-1.on.aws/postgres', { profile: 'dev' })
loginFromEnv()
loginFromEnv({ connectTo: { host: '127.0.0.1', port: 5433 } }, { PGHOST: 'db.example.com' })
auroraDsql({ user: 'app', assumeRole: [{ roleArn: 'arn' }, { roleArn: 'arn', externalId: 'x' }] })
auroraDsql({ user: 'app', clusterId: true })
auroraDsql({ user: 'app', signer: 'built-in' })
rds({ user: 'app', signer: 'aws-sdk' })
loginFromEnv({ user: 'app', signer: 'built-in' })
redshift({ host: 'warehouse.example.com', customDomain: 'workgroup', region: 'us-east-1' })
customLogin({ getToken: () => 'secret' })
entra({ host: 'shop.postgres.database.azure.com', credentials: new DefaultAzureCredential() })
entra({ cloud: 'china', credentials: async () => new ManagedIdentityCredential() })
cloudSql({ instance: 'shop:us-central1:orders', credentials: new GoogleAuth() })
cloudSql({ user: 'app@shop.iam', credentials: new Compute() })
cloudSql({ credentials: () => new GoogleAuth().getClient() })
loginFromUrl('postgres://shop.postgres.database.azure.com', {
  credentials: new DefaultAzureCredential(),
})
customLogin({
  getToken: async ({ host, signal }) => ({ value: host, user: signal.aborted ? 'a' : 'b' }),
})

export const token: Promise<Token> = login.token()
export const stats: LoginStats = login.stats()
export const user: string | undefined = login.user

export function codeOf(error: unknown): PgIamErrorCode | undefined {
  return isPgIamError(error, 'ERR_TOKEN_TIMEOUT') ? error.code : undefined
}

auroraDsql({
  user: 'app',
  startupParameters: { application_name: 'web', statement_timeout: 5_000 },
  keepAlive: 30,
  tls: { minVersion: 'TLSv1.3' },
})
redshift({ dbUser: 'app', dbGroups: ['readers'], autoCreate: true })
redshift({ apiEndpoint: 'https://redshift.example.com' })
entra({ fallbackUsername: 'app' })

// @ts-expect-error older versions of TLS are not allowed
auroraDsql({ user: 'app', tls: { minVersion: 'TLSv1.1' } })
// @ts-expect-error a login replaces the password
auroraDsql({ user: 'app', password: 'secret' })
// @ts-expect-error verification cannot be turned off
auroraDsql({ user: 'app', tls: { rejectUnauthorized: false } })
// @ts-expect-error TLS cannot be turned off
auroraDsql({ user: 'app', tls: false })
// @ts-expect-error Redshift returns the user
redshift({ user: 'app' })
// @ts-expect-error there are three clouds
entra({ cloud: 'germany' })
// @ts-expect-error a secret is no credential of the Azure SDK
entra({ credentials: { clientSecret: 'secret' } })
// @ts-expect-error a token is not an auth client
cloudSql({ credentials: 'secret' })
// @ts-expect-error a custom login requires getToken
customLogin({ user: 'app' })
// @ts-expect-error no such signer
auroraDsql({ user: 'app', signer: 'sdk' })
// @ts-expect-error Redshift passwords are not signed
redshift({ signer: 'built-in' })
// @ts-expect-error a login is read-only
login.host = 'elsewhere.example.com'
// @ts-expect-error no such code
isPgIamError(undefined, 'ERR_NONE')
