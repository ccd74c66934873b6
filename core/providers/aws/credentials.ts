/** AWS credentials: one provider per login, asked rarely, never remembered when it failed. */
import { isDate } from 'node:util/types'
import { isPgIamError, PgIamError } from '../../errors.js'
import { singleFlight, withTimeout } from '../../async.js'
import type { Clock, LoginCounters } from '../../tokens/token-source.js'
import { isTransientFailure } from '../../tokens/token.js'

/** What the AWS SDK calls an identity. */
export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  /** When they end; not given for credentials without an end. */
  readonly expiration?: Date
}

/** As the AWS SDK's providers: called with `forceRefresh` when what it has ends too soon. */
export type AwsCredentialsProvider = (options?: {
  forceRefresh?: boolean
  /** Never given. The SDK's own providers know it, and TypeScript wants one property in common. */
  callerClientConfig?: never
}) => AwsCredentials | Promise<AwsCredentials>

export interface CredentialsSourceSettings {
  provider: AwsCredentialsProvider
  /** How long a token signed with them is to live. */
  tokenDurationMs: number
  /** What was looked for, for the hint of a failure. */
  lookedFor: string
  counters: LoginCounters
  /** How long a renewal is waited for while the kept credentials are still good, in milliseconds. Default: as long as it takes. */
  renewalTimeoutMs?: number
  /** Is told of a renewal that failed while the kept credentials are used on. */
  renewalFailed?: (error: unknown) => void
}

/** Gives credentials fit to sign with now. */
export interface CredentialsSource {
  (): Promise<AwsCredentials>
  /**
   * Asks the provider again, because the server refused what the kept ones have signed: keys are also taken back before they end.
   * Resolves with whether there are others now. It asks once in five seconds at the most, and never rejects.
   */
  renewAfterRefusal(): Promise<boolean>
  /** How often a refusal has led to other credentials; what older ones have signed is worth nothing. */
  replacements(): number
}

/**
 * Creates the source of the credentials of a login.
 *
 * They are kept until they would end before the token, but for at least half of the life that they came with: a provider
 * that has nothing longer to give is not asked for every connection. Calls made together share one request.
 *
 * Where they cannot be renewed they are used until they have ended, and another renewal is tried a few seconds later.
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
    // A provider may answer from a cache of its own; told that this is too short, it looks again.
    if (isFirst && lifeLeft(credentials, now()) < tokenDurationMs)
      credentials = await ask(settings, true)
    const left = lifeLeft(credentials, now())
    if (left <= 0) throw ended(settings)
    kept = { credentials, renewAt: now() + left - Math.min(tokenDurationMs, left / 2) }
    return credentials
  })
  /** What there is is good for a while yet: neither a provider that fails nor one that stalls takes it from new connections. */
  const renewOrKeep = async (before: AwsCredentials): Promise<AwsCredentials> => {
    try {
      return await (renewalTimeoutMs === undefined
        ? renew()
        : withTimeout(renew(), renewalTimeoutMs, () => STALLED))
    } catch (error) {
      const left = lifeLeft(before, now())
      // There is nothing else to use by now.
      if (left <= 0 && error === STALLED) return renew()
      if (left <= 0) throw error
      // Told once for all connections that waited for it.
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
  let asked: { at: number; isOther: Promise<boolean> } | undefined
  const askForOthers = async (refused: AwsCredentials | undefined): Promise<boolean> => {
    const given = await renew().catch(() => refused)
    if (isSame(given, refused)) return false
    replaced++
    return true
  }
  return Object.assign(current, {
    renewAfterRefusal: () => {
      if (asked === undefined || now() >= asked.at + REFUSAL_PAUSE_MS) {
        asked = { at: now(), isOther: askForOthers(kept?.credentials) }
      }
      return asked.isOther
    },
    replacements: () => replaced,
  })
}

/** A role that may not log in is refused each time, and is no reason to ask for each connection. */
const REFUSAL_PAUSE_MS = 5_000

/** How long after a renewal that failed the next one is tried. */
const RENEWAL_PAUSE_MS = 5_000

const STALLED = new Error('the renewal takes too long')

function isSame(one: AwsCredentials | undefined, other: AwsCredentials | undefined): boolean {
  return (
    one?.accessKeyId === other?.accessKeyId &&
    one?.secretAccessKey === other?.secretAccessKey &&
    one?.sessionToken === other?.sessionToken
  )
}

/** Tells whether a value is a Date of any realm that holds a time. */
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
  const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''
  if (!isText(accessKeyId) || !isText(secretAccessKey)) {
    throw unavailable(
      'the credentials came without an access key ID or a secret access key',
      lookedFor,
    )
  }
  if (expiration !== undefined && !isValidDate(expiration)) {
    throw unavailable(
      'the credentials came with an "expiration" that is not a valid Date',
      lookedFor,
    )
  }
  return {
    accessKeyId,
    secretAccessKey,
    ...(isText(sessionToken) ? { sessionToken } : {}),
    ...(expiration === undefined ? {} : { expiration }),
  }
}

function lifeLeft({ expiration }: AwsCredentials, now: number): number {
  return expiration === undefined ? Infinity : expiration.getTime() - now
}

function ended({ lookedFor }: CredentialsSourceSettings): PgIamError {
  return unavailable('the AWS credentials have ended', lookedFor)
}

function unavailable(
  message: string,
  hint: string,
  options: { cause?: unknown; retryable?: boolean } = {},
): PgIamError {
  return new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', message, { hint, ...options })
}
