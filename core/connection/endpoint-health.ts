/** Which endpoints of a login can be reached, and what an error says about that. */
import { fullJitter } from '../async.js'
import { isPgIamError, type PgIamErrorCode } from '../errors.js'
import type { Endpoint } from './log-in.js'

export interface EndpointHealth {
  /** As given. */
  readonly all: readonly Endpoint[]
  /**
   * All endpoints in the order in which one connection tries them: as given, with those that are cooling down last. After its
   * cooldown an endpoint is half open: one connection at a time tries it.
   */
  inOrder(): readonly Endpoint[]
  /** The endpoints that failed lately, and those that another connection is trying again. */
  coolingDown(): readonly Endpoint[]
  markReachable(endpoint: Endpoint): void
  /** Lets the endpoint cool down, for longer after each failure. */
  markFailed(endpoint: Endpoint): void
}

/** The clock and the source of randomness, as parameters for tests and simulations. */
interface EndpointHealthDeps {
  now: () => number
  random: () => number
}

/** The cooldown after the first failure. It doubles with each further failure, up to the longest. */
const FIRST_COOLDOWN_MS = 1_000
const LONGEST_COOLDOWN_MS = 60_000

/** How long one connection has to try a half-open endpoint before another may. */
const HALF_OPEN_MS = 10_000

interface Cooldown {
  failures: number
  until: number
  isHalfOpen: boolean
}

export function createEndpointHealth(
  endpoints: readonly Endpoint[],
  deps: Partial<EndpointHealthDeps> = {},
): EndpointHealth {
  const { now = Date.now, random = Math.random } = deps
  const cooldowns = new Map<Endpoint, Cooldown>()
  const isCoolingDown = (endpoint: Endpoint): boolean =>
    now() < (cooldowns.get(endpoint)?.until ?? 0)
  /** Gives an endpoint whose cooldown is over to the first caller. For the others it goes on cooling down. */
  const isAvailable = (endpoint: Endpoint): boolean => {
    if (isCoolingDown(endpoint)) return false
    const cooldown = cooldowns.get(endpoint)
    if (cooldown !== undefined)
      Object.assign(cooldown, { until: now() + HALF_OPEN_MS, isHalfOpen: true })
    return true
  }
  return {
    all: endpoints,
    inOrder: () => {
      const available = endpoints.filter(isAvailable)
      return [...available, ...endpoints.filter((endpoint) => !available.includes(endpoint))]
    },
    coolingDown: () => endpoints.filter(isCoolingDown),
    markReachable: (endpoint) => void cooldowns.delete(endpoint),
    markFailed: (endpoint) => {
      const cooldown = cooldowns.get(endpoint)
      // Connections that fail together in one outage count as one failure.
      if (isCoolingDown(endpoint) && cooldown?.isHalfOpen !== true) return
      const failures = (cooldown?.failures ?? 0) + 1
      const cooldownMs = fullJitter(
        failures,
        FIRST_COOLDOWN_MS,
        LONGEST_COOLDOWN_MS,
        () => 0.5 + random() / 2,
      )
      cooldowns.set(endpoint, { failures, until: now() + cooldownMs, isHalfOpen: false })
    },
  }
}

/**
 * It has too many connections, or too many at once, and will have a place for this one: "too many open connections" and "rate
 * exceeded" of Aurora DSQL; PostgreSQL uses the first for its own limit.
 * See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
 */
export function isConnectionLimit(sqlState: string | undefined): boolean {
  return sqlState === '53300' || sqlState === '53400'
}

/** It has too many connections, is short of something else, or is starting or shutting down: another server may do better. */
export function shouldFailOver(sqlState: string | undefined): boolean {
  return sqlState !== undefined && /^(53|57P0[123])/.test(sqlState)
}

/**
 * It does not take the token, or the role: PostgreSQL's class 28, and the 08006 of Aurora DSQL, "unable to accept connection,
 * access denied". Credentials that were taken back look like this.
 */
export function isAuthRejected(sqlState: string | undefined): boolean {
  return sqlState !== undefined && /^(28...|08006)$/.test(sqlState)
}

const BEFORE_DIALLING: ReadonlySet<PgIamErrorCode> = new Set([
  'ERR_CREDENTIALS_UNAVAILABLE',
  'ERR_TOKEN_REQUEST_FAILED',
  'ERR_TOKEN_TIMEOUT',
  'ERR_TOKEN_INVALID',
  'ERR_PEER_MISSING',
])

export function isBeforeDialling(error: unknown): boolean {
  return isPgIamError(error) && BEFORE_DIALLING.has(error.code)
}
