/** Google Cloud access tokens, and the database user of a token. */
import type { Refusal } from '../../connection/authenticate.js'
import { isAuthRejected } from '../../connection/endpoint-health.js'
import { isPgIamError, PgIamError } from '../../errors.js'
import { peerError } from '../../load-peer.js'
import { type Check, describeKind, invalidSecret } from '../../options/check.js'
import { isUntrustedCertificate, isWrongCertificate } from '../../tls.js'
import type { LoginCounters } from '../../tokens/token-source.js'
import { createToken, invalidToken, receivedToken, type Token } from '../../tokens/token.js'

interface CloudSqlTokenSettings {
  /** Returns the credentials. Called once, and again after a failure. */
  credentials: () => GoogleCredentials | Promise<GoogleCredentials>
  /** The database user, if given. */
  user: string | undefined
  counters: LoginCounters
}

/** Creates the function that gets a token. Google's library caches the token, and renews it before it expires. */
export function cloudSqlTokenIssuer({
  credentials,
  user,
  counters,
}: CloudSqlTokenSettings): (host: string) => Promise<Token> {
  let source: GoogleCredentials | undefined

  return async (host) => {
    counters.credentialCalls++
    source ??= checkedCredentials(await credentials())
    const client = await clientOf(source)
    const { token: value } = await client.getAccessToken()
    const token = checkedToken(value, client.credentials.expiry_date, host)
    if (user !== undefined) return token
    const email = await accountOf(source, client, token.value)
    if (email === undefined) throw unknownAccount(host)
    return createToken(token.value, token.expiresAt, databaseUser(email))
  }
}

async function clientOf(source: GoogleCredentials): Promise<GoogleAuthClient> {
  if (!('getClient' in source)) return source
  try {
    return await source.getClient()
  } catch (cause) {
    if (isPgIamError(cause)) throw cause
    throw new PgIamError(
      'ERR_CREDENTIALS_UNAVAILABLE',
      'cloud-sql: could not find Google credentials',
      {
        cause,
        hint: 'Looked for application default credentials: GOOGLE_APPLICATION_CREDENTIALS, those of gcloud auth application-default login, and the metadata server.',
      },
    )
  }
}

/**
 * The e-mail address of a token's account. `GoogleAuth` has that of a service account, and a key contains its own. For user accounts
 * Google's token info is requested, which contains it if the token also has the scope `userinfo.email`.
 */
async function accountOf(
  source: GoogleCredentials,
  client: GoogleAuthClient,
  token: string,
): Promise<string | undefined> {
  const lookups: readonly (() => Promise<unknown>)[] = [
    async () => (hasFunction(source, 'getCredentials') ? source.getCredentials() : undefined),
    async () => client,
    async () => (hasFunction(client, 'getTokenInfo') ? client.getTokenInfo(token) : undefined),
  ]
  for (const lookup of lookups) {
    // A failed lookup counts as one without a result.
    const found = ((await lookup().catch(() => undefined)) ?? {}) as Record<string, unknown>
    for (const email of [found['client_email'], found['email']])
      if (typeof email === 'string' && EMAIL.test(email)) return email
  }
  return undefined
}

/** Without control characters, which would corrupt the startup packet. */
const EMAIL = /^[^\s\p{Cc}@]+@[^\s\p{Cc}@]+$/u

function checkedCredentials(value: unknown): GoogleCredentials {
  if (isGoogleCredentials(value)) return value
  throw new PgIamError(
    'ERR_CREDENTIALS_UNAVAILABLE',
    `cloud-sql: "credentials" must return ${CREDENTIALS}, got ${describeKind(value)}`,
  )
}

function checkedToken(value: unknown, endsAt: unknown, host: string): Token {
  const what = `cloud-sql: the token for ${host}`
  // An auth client that was created with a token may have no expiry.
  if (!Number.isFinite(endsAt))
    throw invalidToken(what, 'expiry_date', 'a number of milliseconds', endsAt)
  const names = { value: 'token', expiresAt: 'expiry_date', user: 'user' }
  return receivedToken({ value, expiresAt: new Date(endsAt as number) }, what, names)
}

function unknownAccount(host: string): PgIamError {
  return new PgIamError(
    'ERR_TOKEN_INVALID',
    `cloud-sql: could not determine the account of the token for ${host}`,
    {
      hint: 'Give "user": the e-mail address, for a service account without ".gserviceaccount.com".',
    },
  )
}

// The sources of access tokens: any client of Google's authentication library.

/** An auth client of Google's library: `Compute`, `JWT`, `Impersonated`, `UserRefreshClient` or any other. */
export interface GoogleAuthClient {
  getAccessToken(): Promise<{ token?: string | null }>
  /** `expiry_date`: when the token expires, in epoch milliseconds. */
  readonly credentials: { expiry_date?: number | null }
}

/** A `GoogleAuth` of Google's library, which finds an auth client. */
export interface GoogleAuthSource {
  getClient(): Promise<GoogleAuthClient>
}

export type GoogleCredentials = GoogleAuthClient | GoogleAuthSource

/** A function that returns credentials. Called before the first token. */
export type GoogleCredentialsProvider = () => GoogleCredentials | Promise<GoogleCredentials>

/** The `credentials` option. */
export const googleCredentials: Check<GoogleCredentials | GoogleCredentialsProvider> = (
  value,
  name,
) => {
  if (typeof value === 'function') return value as GoogleCredentialsProvider
  if (isGoogleCredentials(value)) return value
  throw invalidSecret(name, `${CREDENTIALS}, or a function that returns one`, value)
}

function isGoogleCredentials(value: unknown): value is GoogleCredentials {
  return hasFunction(value, 'getClient') || hasFunction(value, 'getAccessToken')
}

const CREDENTIALS = 'a GoogleAuth or an auth client of google-auth-library'

/** The default credentials of a login: Google's application default credentials. Nothing is loaded before this is called. */
export async function applicationDefaultCredentials(): Promise<GoogleAuthSource> {
  const { GoogleAuth } = await loadGoogleAuth()
  return new GoogleAuth({ scopes: [LOGIN_SCOPE] })
}

async function loadGoogleAuth(): Promise<typeof import('google-auth-library')> {
  try {
    return await import('google-auth-library')
  } catch (error) {
    throw peerError(error, 'google-auth-library')
  }
}

/**
 * The only scope that a database login needs. A token with this scope is useless for other services. See
 * https://cloud.google.com/sql/docs/postgres/iam-logins
 */
export const LOGIN_SCOPE = 'https://www.googleapis.com/auth/sqlservice.login'

/** Whether an object of the library has an optional method. */
function hasFunction<Name extends string>(
  value: unknown,
  name: Name,
): value is Record<Name, (...given: unknown[]) => unknown> {
  return typeof (value as Record<string, unknown> | null | undefined)?.[name] === 'function'
}

// The database user of a Google Cloud account.

/**
 * The PostgreSQL user of an account: its e-mail address, for a service account without `.gserviceaccount.com`, since names in PostgreSQL
 * are limited to 63 bytes. See https://cloud.google.com/sql/docs/postgres/iam-logins and
 * https://cloud.google.com/sql/docs/postgres/add-manage-iam-users
 */
export function databaseUser(email: string): string {
  return email.replace(/\.gserviceaccount\.com$/, '')
}

// Hints for rejected logins and untrusted certificates.

/** Returns a hint for a rejected login: the server's error only names the user. */
export function explainRefusal({ sqlState, message, user }: Refusal): string | undefined {
  if (!isAuthRejected(sqlState)) return undefined
  if (message.includes('client certificate'))
    return "This instance requires client certificates, which only Google's connectors and Auth Proxy can get. Connect with those, or set its SSL mode to ENCRYPTED_ONLY."
  return `The token must belong to "${user}" (a service account without ".gserviceaccount.com"). This account must be a user of the instance and have the role roles/cloudsql.instanceUser, and the flag cloudsql.iam_authentication must be on.`
}

/** Returns where to get the CA of an instance, and which names its certificate has. */
export function explainUntrusted(error: unknown, host: string): string | undefined {
  if (isUntrustedCertificate(error))
    return `The certificate of ${host} is signed by an untrusted CA, since Node ships no CA of Cloud SQL. Download the instance's CA (gcloud sql ssl server-ca-certs list --instance=INSTANCE --format="value(cert)" > server-ca.pem) and give it as tls: { ca: 'server-ca.pem' }.`
  if (isWrongCertificate(error))
    return 'Give the name in the certificate of the instance: its connection name as instance: "PROJECT:REGION:INSTANCE", or its DNS name as "host" or tls: { servername }.'
  return undefined
}
