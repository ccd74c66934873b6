/** Logs in at the first endpoint that answers. */
import { PgIamError, isPgIamError, type PgIamErrorCode } from '../errors.js'
import type { EndpointSet } from './endpoint-set.js'
import { logIn, type Endpoint, type LoggedIn, type LoginAttempt } from './log-in.js'
import { isForAnother, isTooMany } from './refusal-codes.js'
import { withinTime, type After } from './within-time.js'

export interface OpenConnection extends LoggedIn {
  /** The host that the connection is to. */
  host: string
}

/** What an attempt meets outside of this process, as parameters for simulations. */
export interface AttemptSurroundings {
  logIn: (attempt: LoginAttempt) => Promise<LoggedIn>
  after: After
}

export interface EndpointsAttempt extends Omit<LoginAttempt, 'endpoint'> {
  provider: string
  endpoints: EndpointSet
}

/**
 * Tries the endpoints in turn. One that does not answer is left alone for a while; one that refuses the login for good has
 * answered. While there is another to go to, an endpoint gets five seconds. One that has too many connections is not left
 * alone, and one that is left alone is not tried in its place: that would wait for a dead one each time that a living one is busy.
 *
 * Rejects with the error of a single endpoint as it is, and of several with `ERR_CONNECT_FAILED`, whose `cause` is an
 * `AggregateError` with the error of each. What fails before an endpoint is reached, such as a token, ends the attempt.
 */
export async function tryEndpoints(
  attempt: EndpointsAttempt,
  surroundings: Partial<AttemptSurroundings> = {},
): Promise<OpenConnection> {
  const { endpoints, provider, signal } = attempt
  const resting = new Set(endpoints.resting())
  const inOrder = endpoints.inOrder()
  const errors: unknown[] = []
  let refused: OpenConnection | undefined
  for (const [index, endpoint] of inOrder.entries()) {
    if (resting.has(endpoint) && isTooMany(refused?.refusedWith)) break
    try {
      const isAnotherLeft = index < inOrder.length - 1
      const opened = await logInThere(attempt, endpoint, isAnotherLeft, surroundings)
      if (!isForAnother(opened.refusedWith)) {
        refused?.socket.destroy()
        endpoints.answered(endpoint)
        return { ...opened, host: endpoint.host }
      }
      refused?.socket.destroy()
      refused = { ...opened, host: endpoint.host }
      errors.push(
        new Error(`the server at ${endpoint.host} refused the connection (${opened.refusedWith})`),
      )
      if (isTooMany(opened.refusedWith)) {
        endpoints.answered(endpoint)
        continue
      }
    } catch (error) {
      if (signal.aborted || isBeforeDialling(error)) {
        refused?.socket.destroy()
        throw error
      }
      errors.push(error)
    }
    endpoints.didNotAnswer(endpoint)
  }
  // The server's own words are for the driver, which makes its error of them.
  if (refused !== undefined) return refused
  throw errors.length === 1 ? errors[0] : noneAnswered(provider, inOrder, errors)
}

const TIME_WITH_ANOTHER_TO_GO_MS = 5_000

function logInThere(
  attempt: EndpointsAttempt,
  endpoint: Endpoint,
  isAnotherLeft: boolean,
  { logIn: logInAt = logIn, after }: Partial<AttemptSurroundings>,
): Promise<LoggedIn> {
  if (!isAnotherLeft) return logInAt({ ...attempt, endpoint })
  const { provider, signal } = attempt
  const limit = {
    what: `${provider}: could not connect to ${endpoint.host}`,
    timeoutMs: TIME_WITH_ANOTHER_TO_GO_MS,
    signal,
    ...(after === undefined ? {} : { after }),
  }
  return withinTime(limit, (untilThen) => logInAt({ ...attempt, endpoint, signal: untilThen }))
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

function noneAnswered(
  provider: string,
  endpoints: readonly Endpoint[],
  errors: unknown[],
): PgIamError {
  const hosts = endpoints.map(({ host }) => host).join(', ')
  return new PgIamError('ERR_CONNECT_FAILED', `${provider}: could not connect to any of ${hosts}`, {
    cause: new AggregateError(errors, 'no endpoint answered'),
    retryable: true,
  })
}
