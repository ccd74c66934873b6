/** The token: a short-lived string sent as the PostgreSQL password. */
import { isDate } from 'node:util/types'
import { isPgIamError, PgIamError } from '../errors.js'
import { describeKind, isText } from '../options/check.js'

/**
 * The short-lived password of one physical connection. `value` is readable but hidden: it does not appear in `util.inspect`, in JSON, or in
 * a copy made with the spread operator.
 */
export interface Token {
  readonly value: string
  /** When the database stops accepting the token for new connections. Open connections stay open. */
  readonly expiresAt: Date
  /** The database user, if the issuer names it (Redshift, Entra ID). */
  readonly user?: string
}

/** Creates a token whose value is hidden from anything that prints objects. */
export function createToken(value: string, expiresAt: Date, user?: string): Token {
  return Object.freeze(new IssuedToken(value, expiresAt.getTime(), user))
}

/**
 * The symbol `util.inspect.custom`. In an ES module, importing `node:util` loads everything that it exports, which since Node 22 includes
 * `node:net` and `node:worker_threads`.
 */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom')

/** A class, since prototype getters and private fields are neither printed nor copied, and creating an instance is cheap. */
class IssuedToken implements Token {
  readonly #value: string
  readonly #end: number
  // Only declared: a field would be an own property even without a user.
  declare readonly user?: string

  constructor(value: string, end: number, user: string | undefined) {
    this.#value = value
    this.#end = end
    if (user !== undefined) this.user = user
  }

  get value(): string {
    return this.#value
  }

  /** Returns a new Date each time: a Date in a frozen object is still mutable, and a token may be shared. */
  get expiresAt(): Date {
    return new Date(this.#end)
  }

  toJSON(): object {
    // JSON leaves out an undefined user.
    return { expiresAt: this.expiresAt, user: this.user }
  }

  [INSPECT](): string {
    return `Token { expires ${Number.isNaN(this.#end) ? 'at an unknown time' : this.expiresAt.toISOString()} }`
  }
}

// Checks a token received from an issuer. Errors never show any part of it.

export interface Received {
  value: unknown
  expiresAt: unknown
  /** `undefined` if the token does not name the user. */
  user?: unknown
}

/** The names of the parts in messages, such as `DbPassword`. */
export type PartNames = Readonly<Record<keyof Received, string>>

/**
 * Creates a token, or throws `ERR_TOKEN_INVALID`.
 *
 * @param what what was received, such as `redshift: the password for HOST`
 */
export function receivedToken(
  { value, expiresAt, user }: Received,
  what: string,
  names: PartNames,
): Token {
  if (!isText(value)) throw invalidToken(what, names.value, TEXT, value)
  if (!isDate(expiresAt) || Number.isNaN(expiresAt.getTime()))
    throw invalidToken(what, names.expiresAt, 'a valid Date', expiresAt)
  if (user !== undefined && !isText(user)) throw invalidToken(what, names.user, TEXT, user)
  return createToken(value, expiresAt, user)
}

export function invalidToken(
  what: string,
  part: string,
  expected: string,
  got: unknown,
): PgIamError {
  return new PgIamError(
    'ERR_TOKEN_INVALID',
    `${what} is invalid: "${part}" must be ${expected}, got ${describeKind(got)}`,
  )
}

const TEXT = 'a non-empty string without control characters'

// Distinguishes temporary failures from permanent ones.

/**
 * Whether the failed operation may succeed when repeated unchanged, for example after a network error, or if a service is throttling or
 * down. Checks the error and its causes, as the AWS SDK, `fetch`, and the clients of Azure and Google create them.
 */
export function isTransientFailure(failure: unknown): boolean {
  const seen = new Set<unknown>()
  const looksTransient = (error: unknown): boolean => {
    if (typeof error !== 'object' || error === null || seen.has(error)) return false
    seen.add(error)
    if (isPgIamError(error)) return error.retryable
    const { code, name, errors, cause } = error as Record<string, unknown>
    if (THROTTLING.has(String(name))) return true
    const status = statusOf(error)
    // The HTTP status decides; the causes are ignored.
    if (status !== undefined) return isTransientStatus(status)
    return (
      NETWORK_CODES.has(String(code)) ||
      TIMEOUTS.has(String(name)) ||
      (Array.isArray(errors) && errors.some(looksTransient)) ||
      looksTransient(cause)
    )
  }
  return looksTransient(failure)
}

/** The HTTP status, where the AWS SDK, Azure's clients or Google's put it. */
function statusOf(error: object): number | undefined {
  const { $metadata, statusCode, status, response } = error as {
    $metadata?: { httpStatusCode?: unknown }
    statusCode?: unknown
    status?: unknown
    response?: { status?: unknown }
  }
  return [$metadata?.httpStatusCode, statusCode, status, response?.status].find(
    (value) => typeof value === 'number',
  ) as number | undefined
}

function isTransientStatus(status: number): boolean {
  return status === 408 || status === 429 || status >= 500
}

const NETWORK_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'EAI_AGAIN',
  // The AWS SDK retries this one too: name servers return it while a network comes up.
  'ENOTFOUND',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_SOCKET',
])

const TIMEOUTS: ReadonlySet<string> = new Set([
  'TimeoutError',
  'RequestTimeout',
  'RequestTimeoutException',
])

/** AWS returns some of these with status 400: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html */
const THROTTLING: ReadonlySet<string> = new Set([
  'BandwidthLimitExceeded',
  'EC2ThrottledException',
  'LimitExceededException',
  'PriorRequestNotComplete',
  'ProvisionedThroughputExceededException',
  'RequestLimitExceeded',
  'RequestThrottled',
  'RequestThrottledException',
  'SlowDown',
  'ThrottledException',
  'Throttling',
  'ThrottlingException',
  'TooManyRequestsException',
  'TransactionInProgressException',
])
