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
  return markWithLogin(() => new LoginStream(login, options), login)
}

/** Marks a function that the caller hands to a client with the login that it is for, as factories are. */
export function markWithLogin<T extends (...args: never[]) => unknown>(mark: T, login: Login): T {
  return Object.defineProperty(mark, LOGIN, { value: login })
}

/** The login that a factory, or a function marked as one, is for, or `undefined` for anything else. */
export function loginOfFactory(factory: unknown): Login | undefined {
  return typeof factory === 'function' ? (factory as { [LOGIN]?: Login })[LOGIN] : undefined
}

/** Tells whether a `pg.Client` runs on a stream of ours that has reached its age. */
export function isPastLifetime(client: unknown): boolean {
  return streamOf(client).isPastLifetime === true
}

/** Why the server ended the connection of a `pg.Client` on a stream of ours, or `undefined` where it has not. */
export function lossOf(client: unknown): Error | undefined {
  return streamOf(client).loss
}

/** By what they have in common, because the stream may be of the package's other copy. */
function streamOf(client: unknown): Partial<Pick<LoginStream, 'isPastLifetime' | 'loss'>> {
  const { connection } = (client ?? {}) as { connection?: { stream?: object } }
  return connection?.stream ?? {}
}

const LOGIN: unique symbol = Symbol.for('pg-iam.login') as never
