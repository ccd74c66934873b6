/** The function that a client calls for the socket of each physical connection. */
import type { Login } from '../login.js'
import { LoginStream, type LoginStreamOptions } from './login-stream.js'

/**
 * Returns the factory for the `stream` or `socket` option of a client. Whoever holds the client's options finds the login by it.
 */
export function createStreamFactory(
  login: Login,
  options: LoginStreamOptions = {},
): () => LoginStream {
  return Object.defineProperty(() => new LoginStream(login, options), LOGIN, { value: login })
}

/** The login whose factory this is, or `undefined` for anything else. */
export function loginOfFactory(factory: unknown): Login | undefined {
  return typeof factory === 'function' ? (factory as { [LOGIN]?: Login })[LOGIN] : undefined
}

/** Tells whether a `pg.Client` runs on a stream of ours that has reached its age. */
export function isPastLifetime(client: unknown): boolean {
  const { connection } = (client ?? {}) as { connection?: { stream?: unknown } }
  return (connection?.stream as { isPastLifetime?: boolean } | undefined)?.isPastLifetime === true
}

const LOGIN: unique symbol = Symbol.for('pg-iam.login') as never
