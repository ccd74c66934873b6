/** Access tokens of Google Cloud, and the database user that they are for. */
import { PgIamError, isPgIamError } from '../../errors.js'
import { describeKind } from '../../redact.js'
import type { LoginCounters } from '../../tokens/login-counters.js'
import { invalidToken, receivedToken } from '../../tokens/received-token.js'
import { createToken, type Token } from '../../tokens/token.js'
import {
  CREDENTIALS,
  hasFunction,
  isGoogleCredentials,
  type GoogleAuthClient,
  type GoogleCredentials,
} from './credential.js'
import { databaseUser } from './user-name.js'

export interface CloudSqlTokenSettings {
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
