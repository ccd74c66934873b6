/** A token: the short-lived string sent as the PostgreSQL password. */
import { isDate } from 'node:util/types'
import { isPgIamError, PgIamError } from '../errors.js'
import { describeKind, isText } from '../options/check.js'

/**
 * The short-lived password of one physical connection. `value` is readable but hidden: it does not appear in
 * `util.inspect`, in JSON, or in a copy made with the spread operator.
 */
export interface Token {
  readonly value: string
  /** When the database stops accepting it for new connections; a connection that is open stays open. */
  readonly expiresAt: Date
  /** The database user, where the issuer names it (Redshift, Entra ID). */
  readonly user?: string
}

/** Makes a token whose value is hidden from everything that prints objects. */
export function createToken(value: string, expiresAt: Date, user?: string): Token {
  return Object.freeze(new IssuedToken(value, expiresAt.getTime(), user))
}

/**
 * What `util.inspect` asks for: `util.inspect.custom`. In an ES module `import` of `node:util` reads everything that it exports, and
 * from Node 22 on that loads `node:net` and `node:worker_threads`.
 */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom')

/** Getters of a class are nowhere printed and copied, private fields neither; and a token is made for each connection. */
class IssuedToken implements Token {
  readonly #value: string
  readonly #end: number
  // Declared only: as a field it would be an own property where there is no user.
  declare readonly user?: string

  constructor(value: string, end: number, user: string | undefined) {
    this.#value = value
    this.#end = end
    if (user !== undefined) this.user = user
  }

  get value(): string {
    return this.#value
  }

  /** A Date can be changed even in a frozen object, and a token may be shared. */
  get expiresAt(): Date {
    return new Date(this.#end)
  }

  toJSON(): object {
    // JSON leaves a user out that is undefined.
    return { expiresAt: this.expiresAt, user: this.user }
  }

  [INSPECT](): string {
    return `Token { expires ${Number.isNaN(this.#end) ? 'at an unknown time' : this.expiresAt.toISOString()} }`
  }
}

// Checks what an issuer sent as a token. Nothing of it is shown, whatever it is.

export interface Received {
  value: unknown
  expiresAt: unknown
  /** `undefined` where the token does not name it. */
  user?: unknown
}

/** How the parts are called in messages, such as `DbPassword`. */
export type PartNames = Readonly<Record<keyof Received, string>>

/**
 * Makes a token of it, or throws `ERR_TOKEN_INVALID`.
 *
 * @param what what came, such as `redshift: the password for HOST`
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
    `${what} came with a "${part}" that must be ${expected}, got ${describeKind(got)}`,
  )
}

const TEXT = 'a non-empty string without control characters'

// Tells failures that pass by themselves from those that somebody has to mend.

/**
 * Tells whether what failed may succeed when it is repeated unchanged: the network, a service that is throttling or down. It looks
 * at the error and at its causes, as the AWS SDK, `fetch`, and the clients of Azure and Google make them.
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
    // A service that has answered has said what it thinks.
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

/** The HTTP status of an answer, where the AWS SDK, Azure's clients and Google's put it. */
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
  // The AWS SDK repeats this one, too: name servers answer so while a network comes up.
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

/** AWS answers some of these with the status 400: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html */
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
