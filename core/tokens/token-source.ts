/** The source of a login's tokens: creates or shares them, counts and reports them. */
import { singleFlight, withTimeout } from '../async.js'
import { isPgIamError, PgIamError } from '../errors.js'
import { type LoginIdentity, publish, type Report } from '../events.js'
import { isTransientFailure, type Token } from './token.js'

export interface TokenSourceSettings {
  /** Requests a new token from the issuer. */
  issue: () => Promise<Token>
  /** Identifies the login in errors and events. */
  identity: () => LoginIdentity
  /** The operation, for error messages, such as `sign a token for HOST`. */
  purpose: string
  /** How long a token may be reused for further connections, in milliseconds; 0 creates one per connection. */
  reuseMs: number
  timeoutMs: number
  counters: LoginCounters
  /** Default: publishes on the diagnostics channels. */
  report?: Report
  /** Changes when a shared token must be replaced before it expires. Default: never. */
  replacements?: () => number
}

/** Credentials that a server may reject before they expire. */
export interface Renewable {
  renewAfterRefusal(): Promise<boolean>
  replacements(): number
}

/** Returns the current time in epoch milliseconds. A parameter for tests. */
export type Clock = () => number

/** Creates the function that returns the token for one physical connection. */
export function createTokenSource(
  settings: TokenSourceSettings,
  now: Clock = Date.now,
): () => Promise<Token> {
  const { counters, reuseMs, identity, report = publish } = settings
  let shared: SharedToken | undefined

  const make = async (): Promise<Token> => {
    const startedAt = now()
    try {
      const token = await withTimeout(settings.issue(), settings.timeoutMs, () =>
        timedOut(settings),
      )
      refuseExpired(token, settings, now())
      counters.tokensMade++
      report('pg-iam:token.made', () => ({
        ...identity(),
        expiresAt: token.expiresAt,
        elapsedMs: now() - startedAt,
      }))
      return token
    } catch (cause) {
      counters.tokensFailed++
      const error = asTokenError(cause, settings)
      report('pg-iam:token.failed', () => ({ ...identity(), error }))
      throw error
    }
  }
  if (reuseMs === 0) return make

  const { replacements = () => 0 } = settings
  const renew = singleFlight(async () => {
    const replacementsAtStart = replacements()
    const token = await make()
    const until = Math.min(now() + reuseMs, nearExpiry(token, now()))
    return (shared = { token, until, replacementsAtStart, isUsed: false })
  })
  const isUsable = ({ until, replacementsAtStart }: SharedToken): boolean =>
    now() < until && replacementsAtStart === replacements()
  return async () => {
    const current = shared !== undefined && isUsable(shared) ? shared : await renew()
    const { token } = current
    // The connection that requested the token does not count as reuse; those that waited for it do.
    if (current.isUsed) {
      counters.tokensReused++
      report('pg-iam:token.reused', () => ({ ...identity(), expiresAt: token.expiresAt }))
    }
    current.isUsed = true
    return token
  }
}

interface SharedToken {
  replacementsAtStart: number
  readonly token: Token
  readonly until: number
  isUsed: boolean
}

/** A shared token is replaced when a tenth of its lifetime is left, at most a minute, since it must still reach the server. */
function nearExpiry(token: Token, now: number): number {
  const expiresAt = token.expiresAt.getTime()
  return expiresAt - Math.min((expiresAt - now) / 10, 60_000)
}

function refuseExpired(token: Token, { identity }: TokenSourceSettings, now: number): void {
  if (token.expiresAt.getTime() > now) return
  throw new PgIamError(
    'ERR_TOKEN_INVALID',
    `${identity().provider}: the token for ${identity().host} is already expired`,
    {
      hint: 'Check the clock of this machine, and when its credentials expire.',
    },
  )
}

function asTokenError(cause: unknown, { identity, purpose }: TokenSourceSettings): PgIamError {
  if (isPgIamError(cause)) return cause
  return new PgIamError(
    'ERR_TOKEN_REQUEST_FAILED',
    `${identity().provider}: could not ${purpose}`,
    { cause, retryable: isTransientFailure(cause) },
  )
}

function timedOut({ identity, purpose, timeoutMs }: TokenSourceSettings): PgIamError {
  return tokenTimeout(`${identity().provider}: could not ${purpose} within ${timeoutMs} ms`)
}

/**
 * Invalidates a shared token when a server rejects it. A revoked password would otherwise be sent until it expires. It requests a new one
 * at most once a minute, since a user without permission to log in is rejected each time.
 */
export function createTokenInvalidation(now: Clock = () => performance.now()): Renewable {
  let invalidations = 0
  let invalidatedAt = -Infinity
  return {
    renewAfterRefusal: async () => {
      const since = now() - invalidatedAt
      // Connections that were opened together are rejected together. They have not tried the new token yet.
      if (since < CONCURRENT_MS) return true
      if (since < PAUSE_MS) return false
      invalidations++
      invalidatedAt = now()
      return true
    },
    replacements: () => invalidations,
  }
}

const CONCURRENT_MS = 5_000
const PAUSE_MS = 60_000

// The counters of a login.

/** Counters since the login was created. */
export interface LoginStats {
  /** Tokens created by the issuer. */
  readonly tokensMade: number
  /** Connections that reused a token created for another one. */
  readonly tokensReused: number
  /** Token requests that failed. */
  readonly tokensFailed: number
  /** Calls for credentials. */
  readonly credentialCalls: number
  /** Conflicts after which a transaction function retried its transaction. */
  readonly conflictsRetried: number
  /** Physical connections that logged in. */
  readonly connectionsOpened: number
  /** Connections open now, excluding those that are being closed. */
  readonly connectionsOpen: number
}

export type LoginCounters = { -readonly [Name in keyof LoginStats]: LoginStats[Name] }

export function createLoginCounters(): LoginCounters {
  return {
    tokensMade: 0,
    tokensReused: 0,
    tokensFailed: 0,
    credentialCalls: 0,
    conflictsRetried: 0,
    connectionsOpened: 0,
    connectionsOpen: 0,
  }
}

// A time limit for work that can be cancelled.

/** Runs `work` with a signal that aborts after `milliseconds`. Any failure after that is reported as `ERR_TOKEN_TIMEOUT`. */
export async function withTokenTimeout<T>(
  milliseconds: number,
  purpose: string,
  work: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(milliseconds)
  try {
    return await work(signal)
  } catch (error) {
    throw signal.aborted ? tokenTimeout(`${purpose} within ${milliseconds} ms`) : error
  }
}

// The error for a token, or its credentials, that exceeded the time limit.

export function tokenTimeout(message: string): PgIamError {
  return new PgIamError('ERR_TOKEN_TIMEOUT', message, {
    retryable: true,
    hint: 'Check the source of the credentials (profile, metadata endpoint, STS), or raise "tokenTimeoutMs".',
  })
}
