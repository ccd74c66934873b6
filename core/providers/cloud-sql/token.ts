/** Access tokens of Google Cloud, and the database user that they are for. */
import type { Refusal } from '../../connection/authenticate.js'
import { isAuthRejected } from '../../connection/endpoint-health.js'
import { isPgIamError, PgIamError } from '../../errors.js'
import { peerError } from '../../load-peer.js'
import { type Check, describeKind, invalidSecret } from '../../options/check.js'
import { isUntrustedCertificate, isWrongCertificate } from '../../tls.js'
import type { LoginCounters } from '../../tokens/token-source.js'
import { createToken, invalidToken, receivedToken, type Token } from '../../tokens/token.js'

interface CloudSqlTokenSettings {
  /** Gives the credentials; asked once, and again where that failed. */
  credentials: () => GoogleCredentials | Promise<GoogleCredentials>
  /** The database user, where it was given. */
  user: string | undefined
  counters: LoginCounters
}

/** Creates the function that gets a token. Google's library keeps it by itself, and renews it before it ends. */
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
    if (email === undefined) throw unnamed(host)
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
 * The e-mail address of whom a token is for. `GoogleAuth` knows that of service accounts; a key names its own; for people Google
 * has to be asked, who tells it where the token is also for the scope `userinfo.email`.
 */
async function accountOf(
  source: GoogleCredentials,
  client: GoogleAuthClient,
  token: string,
): Promise<string | undefined> {
  const ways: readonly (() => Promise<unknown>)[] = [
    async () => (hasFunction(source, 'getCredentials') ? source.getCredentials() : undefined),
    async () => client,
    async () => (hasFunction(client, 'getTokenInfo') ? client.getTokenInfo(token) : undefined),
  ]
  for (const way of ways) {
    // One that fails says no more than one that knows nothing.
    const found = ((await way().catch(() => undefined)) ?? {}) as Record<string, unknown>
    for (const email of [found['client_email'], found['email']])
      if (typeof email === 'string' && EMAIL.test(email)) return email
  }
  return undefined
}

/** One without control characters, which would break the packet that the name is sent in. */
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
  // An auth client that was given a token, and was not told when it ends.
  if (!Number.isFinite(endsAt))
    throw invalidToken(what, 'expiry_date', 'a number of milliseconds', endsAt)
  const names = { value: 'token', expiresAt: 'expiry_date', user: 'user' }
  return receivedToken({ value, expiresAt: new Date(endsAt as number) }, what, names)
}

function unnamed(host: string): PgIamError {
  return new PgIamError(
    'ERR_TOKEN_INVALID',
    `cloud-sql: could not find out whose the token for ${host} is`,
    {
      hint: 'Give "user": the e-mail address, for a service account without ".gserviceaccount.com".',
    },
  )
}

// Where access tokens of Google Cloud come from: any client of Google's authentication library.

/** What Google's library calls an auth client: `Compute`, `JWT`, `Impersonated`, `UserRefreshClient` and all the others. */
export interface GoogleAuthClient {
  getAccessToken(): Promise<{ token?: string | null }>
  /** `expiry_date`: when the token ends, in epoch milliseconds. */
  readonly credentials: { expiry_date?: number | null }
}

/** What Google's library calls `GoogleAuth`: it finds a client. */
export interface GoogleAuthSource {
  getClient(): Promise<GoogleAuthClient>
}

export type GoogleCredentials = GoogleAuthClient | GoogleAuthSource

/** A function that gives credentials; it is called before the first token. */
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

/**
 * The credentials of a login that was given none: those that Google calls application default credentials. Nothing is loaded
 * before it is called.
 */
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
 * All that a token needs to log in to a database, and no more: it is worth nothing elsewhere.
 * See https://cloud.google.com/sql/docs/postgres/iam-logins
 */
export const LOGIN_SCOPE = 'https://www.googleapis.com/auth/sqlservice.login'

/** Tells whether an object of the library has a method that not all of its kind have. */
function hasFunction<Name extends string>(
  value: unknown,
  name: Name,
): value is Record<Name, (...given: unknown[]) => unknown> {
  return typeof (value as Record<string, unknown> | null | undefined)?.[name] === 'function'
}

// The database user of an account of Google Cloud.

/**
 * The name under which an account logs in to PostgreSQL: its e-mail address, for a service account without
 * `.gserviceaccount.com`, because PostgreSQL's names end after 63 bytes.
 * See https://cloud.google.com/sql/docs/postgres/iam-logins and
 * https://cloud.google.com/sql/docs/postgres/add-manage-iam-users
 */
export function databaseUser(email: string): string {
  return email.replace(/\.gserviceaccount\.com$/, '')
}

// What to do about an instance that refuses a login, or that is not trusted.

/** Returns what the server's own error does not say: that says who was refused, and nothing more. */
export function explainRefusal({ sqlState, message, user }: Refusal): string | undefined {
  if (!isAuthRejected(sqlState)) return undefined
  if (message.includes('client certificate'))
    return "This instance wants client certificates, which only Google's connectors and Auth Proxy can get. Connect with those, or set its SSL mode to ENCRYPTED_ONLY."
  return `The token must be one of "${user}" (a service account without ".gserviceaccount.com"), who must be a user of the instance and have the role roles/cloudsql.instanceUser, and the flag cloudsql.iam_authentication must be on.`
}

/** Returns where the authority of an instance is to be had, and what its certificate holds. */
export function explainUntrusted(error: unknown, host: string): string | undefined {
  if (isUntrustedCertificate(error))
    return `Who signed the certificate of ${host} is not trusted here, and Node knows no authority of Cloud SQL. Download it (gcloud sql ssl server-ca-certs list --instance=INSTANCE --format="value(cert)" > server-ca.pem) and give it as tls: { ca: 'server-ca.pem' }.`
  if (isWrongCertificate(error))
    return 'Give what the certificate of the instance holds: its connection name as instance: "PROJECT:REGION:INSTANCE", or its DNS name as "host" or tls: { servername }.'
  return undefined
}
