/** Tracks which endpoints of a login are reachable, and classifies errors of endpoints. */
import { fullJitter } from '../async.js'
import { isPgIamError, type PgIamErrorCode } from '../errors.js'
import type { Endpoint } from './log-in.js'

export interface EndpointHealth {
  /** In the order given. */
  readonly all: readonly Endpoint[]
  /**
   * All endpoints in the order in which one connection tries them: as given, with those that are cooling down last. After its cooldown an
   * endpoint is half open: one connection at a time tries it.
   */
  inOrder(): readonly Endpoint[]
  /** The endpoints that failed recently, and those that another connection is retrying. */
  coolingDown(): readonly Endpoint[]
  markReachable(endpoint: Endpoint): void
  /** Starts a cooldown, which is longer after each failure. */
  markFailed(endpoint: Endpoint): void
}

/** Clock and randomness, as parameters for tests and simulations. */
interface EndpointHealthDeps {
  now: () => number
  random: () => number
}

/** The cooldown after the first failure. It doubles with each failure, up to the maximum. */
const FIRST_COOLDOWN_MS = 1_000
const LONGEST_COOLDOWN_MS = 60_000

/** How long a connection may try a half-open endpoint before another connection may. */
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
  // Not the date, which can be set back while an endpoint cools down.
  const { now = () => performance.now(), random = Math.random } = deps
  const cooldowns = new Map<Endpoint, Cooldown>()
  const isCoolingDown = (endpoint: Endpoint): boolean =>
    now() < (cooldowns.get(endpoint)?.until ?? 0)
  /** After its cooldown, an endpoint is available to the first caller only. For all others it is still cooling down. */
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
 * The server is at its connection limit or connection rate, which is temporary: "too many open connections" and "rate exceeded" of Aurora
 * DSQL. PostgreSQL uses the first code for its own limit. See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
 */
export function isConnectionLimit(sqlState: string | undefined): boolean {
  return sqlState === '53300' || sqlState === '53400'
}

/** The server is out of connections or other resources, or is starting or shutting down. Another server may accept the login. */
export function shouldFailOver(sqlState: string | undefined): boolean {
  return sqlState !== undefined && /^(53|57P0[123])/.test(sqlState)
}

/**
 * The server rejects the token or the role: PostgreSQL's class 28, and 08006 of Aurora DSQL, "unable to accept connection, access denied".
 * Revoked credentials have the same effect.
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
