/** Tells failures that pass by themselves from those that somebody has to mend. */
import { isPgIamError } from '../errors.js'

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
