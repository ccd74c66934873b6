/** Where a login's tokens come from: made new, or shared for a while, counted and reported. */
import { singleFlight, withTimeout } from '../async.js'
import { isPgIamError, PgIamError } from '../errors.js'
import { type LoginIdentity, publish, type Report } from '../events.js'
import { isTransientFailure, type Token } from './token.js'

export interface TokenSourceSettings {
  /** Asks the issuer for a new token. */
  issue: () => Promise<Token>
  /** Names the login in errors and events. */
  identity: () => LoginIdentity
  /** What a failure is called, such as `sign a token for HOST`. */
  purpose: string
  /** How long one token may serve further connections, in milliseconds; 0 makes one for each. */
  reuseMs: number
  timeoutMs: number
  counters: LoginCounters
  /** Default: publishes on the channels. */
  report?: Report
  /** Counts up when a shared token is worth nothing any more, though it has not ended. Default: it never does. */
  replacements?: () => number
}

/** Credentials that a server may refuse before they have ended. */
export interface Renewable {
  renewAfterRefusal(): Promise<boolean>
  replacements(): number
}

/** The current time in epoch milliseconds; a parameter so that tests can move it. */
export type Clock = () => number

/** Creates the function that gives the token of one physical connection. */
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
    const madeFor = replacements()
    const token = await make()
    const until = Math.min(now() + reuseMs, nearExpiry(token, now()))
    return (shared = { token, until, madeFor, isTaken: false })
  })
  const isGood = ({ until, madeFor }: SharedToken): boolean =>
    now() < until && madeFor === replacements()
  return async () => {
    const current = shared !== undefined && isGood(shared) ? shared : await renew()
    const { token } = current
    // The first connection has the token that was made for it; those that waited for it together share it.
    if (current.isTaken) {
      counters.tokensReused++
      report('pg-iam:token.reused', () => ({ ...identity(), expiresAt: token.expiresAt }))
    }
    current.isTaken = true
    return token
  }
}

interface SharedToken {
  madeFor: number
  readonly token: Token
  readonly until: number
  isTaken: boolean
}

/** A shared token is given up a tenth of its life, at most a minute, before it ends: it still has to reach the server. */
function nearExpiry(token: Token, now: number): number {
  const expiresAt = token.expiresAt.getTime()
  return expiresAt - Math.min((expiresAt - now) / 10, 60_000)
}

function refuseExpired(token: Token, { identity }: TokenSourceSettings, now: number): void {
  if (token.expiresAt.getTime() > now) return
  throw new PgIamError(
    'ERR_TOKEN_INVALID',
    `${identity().provider}: the token for ${identity().host} came already expired`,
    {
      hint: 'Check the clock of this machine, and when its credentials end.',
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

// Shared tokens that a server refused before they had ended.

/**
 * Has a shared token forgotten when a server refuses it: a password that was revoked would else be sent until its end. It asks for
 * another one once a minute at the most, because a user who may not log in at all is refused each time.
 */
export function createTokenInvalidation(now: Clock = Date.now): Renewable {
  let forgotten = 0
  let forgottenAt = -Infinity
  return {
    renewAfterRefusal: async () => {
      const since = now() - forgottenAt
      // Connections that were opened together are refused together, and have not tried the new one yet.
      if (since < TOGETHER_MS) return true
      if (since < PAUSE_MS) return false
      forgotten++
      forgottenAt = now()
      return true
    },
    replacements: () => forgotten,
  }
}

const TOGETHER_MS = 5_000
const PAUSE_MS = 60_000

// What a login counts.

/** Counts since the login was made. */
export interface LoginStats {
  /** Tokens that the issuer gave. */
  readonly tokensMade: number
  /** Connections that shared a token made for another one. */
  readonly tokensReused: number
  /** Token requests that failed. */
  readonly tokensFailed: number
  /** How often credentials were asked for. */
  readonly credentialCalls: number
  /** Conflicts after which a transaction function ran its transaction again. */
  readonly conflictsRetried: number
  /** Physical connections that logged in. */
  readonly connectionsOpened: number
  /** Those of them that are open now. One that is being closed does not count, though it takes a moment more to end. */
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

// Stops work that can be stopped when the time for a token is up.

/** Runs `work` with a signal that fires after `milliseconds`. What fails from then on failed for that: `ERR_TOKEN_TIMEOUT`. */
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

// The error for a token, or the credentials for it, that did not come in time.

export function tokenTimeout(message: string): PgIamError {
  return new PgIamError('ERR_TOKEN_TIMEOUT', message, {
    retryable: true,
    hint: 'Check what gives the credentials (profile, metadata endpoint, STS), or raise "tokenTimeoutMs".',
  })
}
