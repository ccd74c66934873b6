/** Where a login's tokens come from: made new, or shared for a while, counted and reported. */
import { PgIamError, isPgIamError } from '../errors.js'
import { publish, type LoginIdentity, type Report } from '../events.js'
import { singleFlight } from '../single-flight.js'
import type { LoginCounters } from './login-counters.js'
import { withinTimeout } from '../within-timeout.js'
import { tokenTimeout } from './token-timeout.js'
import { isTransientFailure } from './transient-failure.js'
import type { Token } from './token.js'

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
      const token = await withinTimeout(settings.issue(), settings.timeoutMs, () =>
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
