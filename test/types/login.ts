/** What users write to make a login compiles, and what they must not write does not. Nothing here runs. */
import { fromNodeProviderChain, fromTemporaryCredentials } from '@aws-sdk/credential-providers'
import {
  auroraDsql,
  isPgIamError,
  loginFromEnv,
  loginFromUrl,
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

export const token: Promise<Token> = login.token()
export const stats: LoginStats = login.stats()
export const user: string | undefined = login.user

export function codeOf(error: unknown): PgIamErrorCode | undefined {
  return isPgIamError(error, 'ERR_TOKEN_TIMEOUT') ? error.code : undefined
}

// @ts-expect-error a password is what a login is there to replace
auroraDsql({ user: 'app', password: 'secret' })
// @ts-expect-error verification cannot be turned off
auroraDsql({ user: 'app', tls: { rejectUnauthorized: false } })
// @ts-expect-error TLS cannot be turned off
auroraDsql({ user: 'app', tls: false })
// @ts-expect-error a login does not change
login.host = 'elsewhere.example.com'
// @ts-expect-error no such code
isPgIamError(undefined, 'ERR_NONE')
