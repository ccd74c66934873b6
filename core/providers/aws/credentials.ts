/** AWS credentials of a login: cached, refreshed before they expire. Failures are not cached. */
import { isText } from '../../options/check.js'
import { isDate } from 'node:util/types'
import { isPgIamError, PgIamError } from '../../errors.js'
import { singleFlight, withTimeout } from '../../async.js'
import type { Clock, LoginCounters } from '../../tokens/token-source.js'
import { isTransientFailure } from '../../tokens/token.js'

/** An identity, in the terms of the AWS SDK. */
export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  /** When they expire; absent for credentials that do not expire. */
  readonly expiration?: Date
}

/** Compatible with the AWS SDK's providers. Called with `forceRefresh` if its credentials expire too soon. */
export type AwsCredentialsProvider = (options?: {
  forceRefresh?: boolean
  /** Never passed. The SDK's providers have this property, and TypeScript requires one property in common. */
  callerClientConfig?: never
}) => AwsCredentials | Promise<AwsCredentials>

export interface CredentialsSourceSettings {
  provider: AwsCredentialsProvider
  /** The lifetime of a token signed with them. */
  tokenDurationMs: number
  /** The sources that were tried, for the hint of an error. */
  lookedFor: string
  counters: LoginCounters
  /** How long to wait for a refresh while the cached credentials are valid, in milliseconds. Default: no limit. */
  renewalTimeoutMs?: number
  /** Called if a refresh failed and the cached credentials are still used. */
  renewalFailed?: (error: unknown) => void
}

/** Returns credentials that are valid for signing now. */
export interface CredentialsSource {
  (): Promise<AwsCredentials>
  /**
   * Calls the provider again because the server rejected a token: keys may be revoked before they expire. Resolves with whether the
   * credentials changed. Calls the provider at most once in five seconds, and never rejects.
   */
  renewAfterRefusal(): Promise<boolean>
  /** How often a rejection has led to new credentials. Tokens signed with older ones are invalid. */
  replacements(): number
}

/**
 * Creates the source of a login's credentials.
 *
 * They are cached until they would expire before the token, but for at least half of their remaining lifetime: a provider that only has
 * short-lived credentials is not called for every connection. Concurrent calls share one request.
 *
 * If a refresh fails they are used until they expire, and the refresh is retried a few seconds later.
 */
export function createCredentialsSource(
  settings: CredentialsSourceSettings,
  now: Clock = Date.now,
): CredentialsSource {
  const { tokenDurationMs, renewalTimeoutMs } = settings
  let kept: { credentials: AwsCredentials; renewAt: number } | undefined

  const renew = singleFlight(async () => {
    const isFirst = kept === undefined
    let credentials = await ask(settings, !isFirst)
    // A provider may return cached credentials; `forceRefresh` requests new ones if those expire too soon.
    if (isFirst && lifeLeft(credentials, now()) < tokenDurationMs)
      credentials = await ask(settings, true)
    const left = lifeLeft(credentials, now())
    if (left <= 0) throw expired(settings)
    kept = { credentials, renewAt: now() + left - Math.min(tokenDurationMs, left / 2) }
    return credentials
  })
  /** Uses the cached credentials while they are valid: a failing or slow provider must not fail new connections. */
  const renewOrKeep = async (before: AwsCredentials): Promise<AwsCredentials> => {
    try {
      return await (renewalTimeoutMs === undefined
        ? renew()
        : withTimeout(renew(), renewalTimeoutMs, () => STALLED))
    } catch (error) {
      const left = lifeLeft(before, now())
      // The cached credentials have expired in the meantime.
      if (left <= 0 && error === STALLED) return renew()
      if (left <= 0) throw error
      // Reported once for all connections that waited for the refresh.
      if (kept === undefined || now() >= kept.renewAt) settings.renewalFailed?.(error)
      kept = { credentials: before, renewAt: now() + Math.min(left, RENEWAL_PAUSE_MS) }
      return before
    }
  }
  const current = async (): Promise<AwsCredentials> => {
    if (kept === undefined) return renew()
    if (now() < kept.renewAt) return kept.credentials
    return lifeLeft(kept.credentials, now()) > 0 ? renewOrKeep(kept.credentials) : renew()
  }

  let replaced = 0
  let asked: { at: number; isNew: Promise<boolean> } | undefined
  const requestNew = async (refused: AwsCredentials | undefined): Promise<boolean> => {
    const given = await renew().catch(() => refused)
    if (isSame(given, refused)) return false
    replaced++
    return true
  }
  return Object.assign(current, {
    renewAfterRefusal: () => {
      if (asked === undefined || now() >= asked.at + REFUSAL_PAUSE_MS) {
        asked = { at: now(), isNew: requestNew(kept?.credentials) }
      }
      return asked.isNew
    },
    replacements: () => replaced,
  })
}

/** A role without permission to log in is rejected each time. This must not call the provider for each connection. */
const REFUSAL_PAUSE_MS = 5_000

/** The pause after a failed refresh. */
const RENEWAL_PAUSE_MS = 5_000

const STALLED = new Error('the refresh timed out')

function isSame(one: AwsCredentials | undefined, other: AwsCredentials | undefined): boolean {
  return (
    one?.accessKeyId === other?.accessKeyId &&
    one?.secretAccessKey === other?.secretAccessKey &&
    one?.sessionToken === other?.sessionToken
  )
}

/** Whether a value is a valid Date, of any realm. */
export function isValidDate(value: unknown): value is Date {
  return isDate(value) && !Number.isNaN(value.getTime())
}

async function ask(
  { provider, counters, lookedFor }: CredentialsSourceSettings,
  forceRefresh: boolean,
): Promise<AwsCredentials> {
  counters.credentialCalls++
  let given: unknown
  try {
    given = await (forceRefresh ? provider({ forceRefresh }) : provider())
  } catch (cause) {
    if (isPgIamError(cause)) throw cause
    throw unavailable('could not get AWS credentials', lookedFor, {
      cause,
      retryable: isTransientFailure(cause),
    })
  }
  return checkCredentials(given, lookedFor)
}

function checkCredentials(given: unknown, lookedFor: string): AwsCredentials {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = (given ?? {}) as Record<
    keyof AwsCredentials,
    unknown
  >
  const isSet = (value: unknown): value is string => typeof value === 'string' && value !== ''
  if (!isSet(accessKeyId)) throw unavailable('the credentials have no "accessKeyId"', lookedFor)
  if (!isSet(secretAccessKey))
    throw unavailable('the credentials have no "secretAccessKey"', lookedFor)
  if (![accessKeyId, secretAccessKey, sessionToken].filter(isSet).every(isText)) {
    throw unavailable(
      'the credentials contain a line break or another control character',
      lookedFor,
    )
  }
  if (expiration !== undefined && !isValidDate(expiration)) {
    throw unavailable('the credentials have an "expiration" that is not a valid Date', lookedFor)
  }
  return {
    accessKeyId,
    secretAccessKey,
    ...(isSet(sessionToken) ? { sessionToken } : {}),
    ...(expiration === undefined ? {} : { expiration }),
  }
}

function lifeLeft({ expiration }: AwsCredentials, now: number): number {
  return expiration === undefined ? Infinity : expiration.getTime() - now
}

function expired({ lookedFor }: CredentialsSourceSettings): PgIamError {
  return unavailable('the AWS credentials have expired', lookedFor)
}

function unavailable(
  message: string,
  hint: string,
  options: { cause?: unknown; retryable?: boolean } = {},
): PgIamError {
  return new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', message, { hint, ...options })
}
