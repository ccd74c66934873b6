/** Where access tokens of Google Cloud come from: any client of Google's authentication library. */
import { peerError } from '../../load-peer.js'
import { invalidSecret, type Check } from '../../options/check.js'

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

export function isGoogleCredentials(value: unknown): value is GoogleCredentials {
  return hasFunction(value, 'getClient') || hasFunction(value, 'getAccessToken')
}

export const CREDENTIALS = 'a GoogleAuth or an auth client of google-auth-library'

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
export function hasFunction<Name extends string>(
  value: unknown,
  name: Name,
): value is Record<Name, (...given: unknown[]) => unknown> {
  return typeof (value as Record<string, unknown> | null | undefined)?.[name] === 'function'
}
